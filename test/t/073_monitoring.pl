#!/usr/bin/perl
#
# monitoring/: Debian's prometheus-postgres-exporter runs with our queries as a
# role that may see figures only; every metric that the alert rules and the
# dashboard speak of is one that it exports; each alert is raised when it should
# be, and only then; and Prometheus, which asks the exporter, has something to
# show in every panel.
use strict;
use warnings;
use Cwd qw(getcwd);
use CupsourceTest;
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 5, '--rate-limit' => 0);
my $node = cupsource_node('monitoring');
create_accounts($node, $sandbox);
$node->safe_psql('postgres', q{
	CREATE ROLE exporter LOGIN; GRANT pg_monitor TO exporter;
	SELECT count(*) FROM cs_products(server => 'shop_v1'); SELECT count(*) FROM cs_models(server => 'hub')});
$node->safe_psql('postgres', q{CALL cs_refresh_catalog('shop_v1')});
is($node->safe_psql('postgres', q{SELECT state FROM cs_create_order('[{"sku": "CS-8OZ-ECO", "quantity": 5000}]',
	'{"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201"}', 'm-1',
	'{"currency": "USD"}', 'shop_v1')}), 'placed', 'an order is placed');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET state = 'uncertain', poll_at = NULL;
	INSERT INTO cs_internal.orders (server, external_id, state, lines, created_by, origin, next_attempt_at)
	VALUES ('shop_v1', 'm-2', 'failed', '[]', current_user, cs_internal.origin(), NULL)});

my $port = PostgreSQL::Test::Cluster::get_free_port();
my ($out, $err) = ('', '');
my $exporter = do
{
	local $ENV{DATA_SOURCE_NAME} = 'postgresql://exporter@/postgres?host=' . $node->host . '&port=' . $node->port . '&sslmode=disable';
	IPC::Run::start(
		[ 'prometheus-postgres-exporter', "--web.listen-address=127.0.0.1:$port", '--disable-default-metrics',
			'--disable-settings-metrics', '--extend.query-path=monitoring/queries.yaml' ],
		'<', \undef, '>', \$out, '2>', \$err);
};
my $http = HTTP::Tiny->new(proxy => undef, http_proxy => undef);
my $answer;
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	$answer = $http->get("http://127.0.0.1:$port/metrics");
	last if $answer->{success};
	select undef, undef, undef, 0.1;
}
is($answer->{status}, 200, 'the exporter runs') or diag($answer->{content});
my $text = $answer->{content};

# Of a metric with these labels; undef if there is none.
sub value
{
	my ($metric, %label) = @_;

	for my $line (grep {/^\Q$metric\E\{/} split /\n/, $text)
	{
		return $line =~ / (\S+)$/ ? $1 + 0 : undef unless grep { $line !~ /\b$_="\Q$label{$_}\E"/ } keys %label;
	}
	return undef;
}

is(value('pg_exporter_user_queries_load_error') // 0, 0, 'takes our queries');
unlike($err, qr/level=error/, 'and runs them without an error') or diag($err);
is(value('cupsource_requests_calls', partner => 'shop_v1', endpoint => 'POST /orders'), 1, 'counts a request');
cmp_ok(value('cupsource_requests_seconds', partner => 'hub', endpoint => 'GET /api/v1/models'), '>', 0, 'and its time');
is(value('cupsource_health_status', check_name => 'uncertain'), 1, 'tells a check that warns');
is(value('cupsource_health_status', check_name => 'worker'), 0, 'and one that is well');
is(value('cupsource_orders_uncertain', partner => 'shop_v1'), 1, 'sees an order of unknown outcome');
is(value('cupsource_orders_failed', partner => 'shop_v1'), 1, 'one that failed');
is(value('cupsource_orders_not_followed', partner => 'shop_v1'), 0, 'none that is not followed');
is(value('cupsource_account_rate_limit', partner => 'hub'), 60, 'the budget');
cmp_ok(abs(value('cupsource_account_clock_skew_seconds', partner => 'shop_v1')), '<', 3, 'the clock');
cmp_ok(value('cupsource_catalog_age_seconds', partner => 'shop_v1'), '<', 60, 'the age of a catalogue');
is(value('cupsource_worker_running', process => 'launcher'), 1, 'and the launcher');
unlike($text, qr/cs_live|ek_live|m-\d/, 'but neither keys nor orders');

# What is exported, and what the other files speak of.
my %exported = map { $_ => 1 } $text =~ /^(cupsource_\w+)\{/mg;
my ($queries, $alerts, $dashboard) = map { slurp_file("monitoring/$_") } qw(queries.yaml alerts.yaml dashboard.json);
my %known;
my $prefix;
for (split /\n/, $queries)
{
	$prefix = $1 if /^(\w+):$/;
	$known{"${prefix}_$1"} = 1 if /^    - (\w+):$/;
}
is(join(' ', grep { !$known{$_} } sort keys %exported), '', 'what is exported is what the queries describe');
my %described = map { $_ => 1 } keys %known;
for my $file ([ 'alert rules', $alerts ], [ 'dashboard', join "\n", map { $_->{targets}[0]{expr} } @{ decode_json($dashboard)->{panels} } ])
{
	my ($name, $content) = @$file;
	my %spoken = map { $_ => 1 } $content =~ /\b(cupsource_\w+)\b/g;

	cmp_ok(scalar keys %spoken, '>=', 8, "the $name speak of metrics");
	is(join(' ', grep { !$exported{$_} } sort keys %spoken), '', "the $name: each of them is exported");
}

# The alerts, with figures made up for them (test/monitoring.yaml).
my @alerts = $alerts =~ /^ *- alert: (\w+)$/mg;
my $cases = slurp_file('test/monitoring.yaml');
for my $alert (@alerts)
{
	my @when = $cases =~ /alertname: $alert\b(\})?/g;

	ok((grep { defined } @when) && (grep { !defined } @when), "$alert is tested with what raises it, and with what does not");
}
my ($verdict, $complaint);
ok(IPC::Run::run([ 'promtool', 'test', 'rules', 'test/monitoring.yaml' ], '<', \undef, '>', \$verdict, '2>', \$complaint),
	'each alert is raised when it should be, and only then')
  or diag($verdict, $complaint);

# Prometheus itself, with the rules.
my $directory = PostgreSQL::Test::Utils::tempdir;
my $rules = getcwd() . '/monitoring/alerts.yaml';
append_to_file("$directory/prometheus.yml", <<END);
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ['$rules']
scrape_configs: [{job_name: cupsource, static_configs: [{targets: ['127.0.0.1:$port']}]}]
END
my $prometheus_port = PostgreSQL::Test::Cluster::get_free_port();
my $prometheus = IPC::Run::start(
	[ 'prometheus', "--config.file=$directory/prometheus.yml", "--storage.tsdb.path=$directory/data",
		"--web.listen-address=127.0.0.1:$prometheus_port" ],
	'<', \undef, '>', \my $nothing, '2>', \my $log);

# What it answers, when 'enough' says so of it.
sub prometheus
{
	my ($path, $query, $enough) = @_;
	my $found;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $said = $http->get("http://127.0.0.1:$prometheus_port/api/v1/$path?" . $http->www_form_urlencode($query));

		$found = eval { decode_json($said->{content}) };
		last if $found && ($found->{status} eq 'error' || $enough->($found->{data}));
		select undef, undef, undef, 0.1;
	}
	return $found;
}

for my $panel (@{ decode_json($dashboard)->{panels} })
{
	for my $target (@{ $panel->{targets} })
	{
		my $found = prometheus('query', { query => $target->{expr} }, sub { @{ $_[0]{result} } > 0 });

		cmp_ok(scalar @{ $found->{data}{result} // [] }, '>=', 1, "panel \"$panel->{title}\" shows something") or diag($found->{error}, $log);
	}
}
my $raised = sub {
	return map { $_->{alerts} ? "$_->{name} $_->{health}" . (@{ $_->{alerts} } ? " $_->{state}" : '') : () }
	  map { @{ $_->{rules} } } @{ $_[0]{groups} };
};
my $found = prometheus('rules', {}, sub { 2 == (grep {/^Cupsource(?:OutcomeUnknown|OrdersFailed) ok firing$/} $raised->($_[0])) && !grep {/unknown/} $raised->($_[0]) });
is(join(', ', sort $raised->($found->{data})), join(', ', sort map { /^Cupsource(?:OutcomeUnknown|OrdersFailed)$/ ? "$_ ok firing"
			: $_ eq 'CupsourceCheckWarns' ? "$_ ok pending" : "$_ ok" } @alerts),
	'every rule is evaluated, and of a living database those are raised that should be');

$prometheus->kill_kill;
$exporter->kill_kill;
$sandbox->stop;
$node->stop;
done_testing();
