#!/usr/bin/perl
#
# An order is placed once, whatever dies when.  Concurrent sessions order by
# every path and in every kind of transaction, at partners that drop, refuse,
# delay and forget, while backends, the worker, the launcher and the server are
# killed.  Then the faults end, the queue drains, and the partners' books are
# compared with what was committed here.
#
#   SEED      of everything that is random here; it is printed
#   ORDERS    how many are ordered, 1,000 by themselves; there is a kill for every 20 of them
use strict;
use warnings;
use CupsourceTest;
use Cwd qw(abs_path);
use PostgreSQL::Test::Utils;
use POSIX qw(:sys_wait_h);
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{SEED} || int(rand(2**31));
my $orders = $ENV{ORDERS} || 1000;
my $sessions = 6;
my $rounds = int($orders / 16) || 1;
my $kills = int($orders / 20) || 1;
diag("SEED=$seed ORDERS=$orders");

# A generator per purpose, so that one does not shift another.
sub generator
{
	my ($purpose) = @_;
	my $state = $seed & 0x7fffffff;

	$state = ($state * 31 + ord $_) % 2147483647 || 1 for split //, $purpose;
	return sub {
		$state = $state * 48271 % 2147483647;
		return $state % $_[0];
	};
}

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('torture', conf => <<'END_CONF');
restart_after_crash = on
max_connections = 30
max_prepared_transactions = 20
log_statement = none
cupsource.max_retries = 2
cupsource.order_timeout = '1s'
cupsource.timeout = '2s'
cupsource.rollback_grace = '3s'
END_CONF
create_accounts($node, $sandbox, options => { rate_limit => 0, poll_interval => '1d' });
$node->safe_psql('postgres', q{
	ALTER SERVER hub OPTIONS (SET poll_interval '5s');
	CREATE TABLE intent (external_id text PRIMARY KEY);
	CREATE TABLE purchase (external_id text PRIMARY KEY, server text, lines jsonb, ship_to jsonb, options jsonb);
	CREATE TRIGGER submit AFTER INSERT ON purchase FOR EACH ROW EXECUTE FUNCTION
	  cs_submit_order('server_column=server', 'external_id=external_id', 'lines=lines', 'ship_to=ship_to', 'options=options')});

# ---- what is ordered ----

my %address = (
	shop_v1 => '{"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201"}',
	shop_v2 => '{"line1": "123 Warehouse Blvd", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}',
	hub => '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}');

# The partner's books tell orders apart by external id, purchase order number, and quantity.
my $first_quantity = 5000;
my %content = (
	shop_v1 => sub { (sprintf('[{"sku": "CS-8OZ-ECO", "quantity": %d}]', $first_quantity + $_[0]), '{"currency": "USD"}') },
	shop_v2 => sub { ('[{"product_id": "prod_8x92k4m", "quantity": 5000}]', qq({"po_number": "order-$_[0]"})) },
	hub => sub { ('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '{}') });

sub arguments
{
	my ($job) = @_;

	return "'$job->{lines}', '$job->{ship_to}', '$job->{id}', '$job->{options}', '$job->{server}'";
}

sub intent  { return "INSERT INTO intent VALUES ('$_[0]{id}') ON CONFLICT DO NOTHING;\n" }
sub enqueue { return intent($_[0]) . 'SELECT state FROM cs_enqueue_order(' . arguments($_[0]) . ");\n" }
sub call    { return intent($_[0]) . 'SELECT state FROM cs_create_order(' . arguments($_[0]) . ");\n" }

sub insert
{
	my ($job) = @_;

	return intent($job) . "INSERT INTO cs_orders (lines, ship_to, external_id, options, server) VALUES (" . arguments($job) . ");\n";
}

sub purchase
{
	my ($job) = @_;

	return "INSERT INTO purchase (lines, ship_to, external_id, options, server) VALUES (" . arguments($job) . ") ON CONFLICT DO NOTHING;\n";
}

# In a block that catches errors; with 'raise' it also makes one.
sub block
{
	my ($job, $sql, $raise) = @_;

	$sql =~ s/SELECT state/PERFORM state/;
	$raise = $raise ? "RAISE EXCEPTION 'not this time';" : '';
	return "DO \$do\$ BEGIN BEGIN\n$sql$raise\nEXCEPTION WHEN OTHERS THEN RAISE NOTICE '%', SQLERRM; END; END \$do\$;\n"
	  . "SELECT 'intent', count(*) FROM intent WHERE external_id = '$job->{id}';\n";
}

# [name, weight, is it to be committed, SQL of a job and its try]
my @kinds = (
	[ 'trigger', 20, 1, sub { purchase($_[0]) } ],
	[ 'enqueued', 15, 1, sub { "BEGIN;\n" . enqueue($_[0]) . "COMMIT;\n" } ],
	[ 'inserted', 12, 1, sub { "BEGIN;\n" . insert($_[0]) . "COMMIT;\n" } ],
	[ 'enqueued in a block', 4, 1, sub { "BEGIN;\n" . block($_[0], enqueue($_[0]), 0) . "COMMIT;\n" } ],
	[ 'trigger, rolled back', 3, 0, sub { "BEGIN;\n" . purchase($_[0]) . "ROLLBACK;\n" } ],
	[ 'enqueued, rolled back', 3, 0, sub { "BEGIN;\n" . enqueue($_[0]) . "ROLLBACK;\n" } ],
	[ 'enqueued, savepoint', 3, 0, sub { "BEGIN;\nSAVEPOINT s;\n" . enqueue($_[0]) . "ROLLBACK TO s;\nCOMMIT;\n" } ],
	[ 'enqueued, block', 3, 0, sub { "BEGIN;\n" . block($_[0], enqueue($_[0]), 1) . "COMMIT;\n" } ],
	[ 'prepared', 6, 1, sub {
		my ($job, $try) = @_;

		# Who lost sight of a prepared transaction settles it before trying anew.
		return join('', map { "COMMIT PREPARED '$job->{id}/$_';\n" } 1 .. $try - 1)
		  . "BEGIN;\n" . enqueue($job) . "PREPARE TRANSACTION '$job->{id}/$try';\nCOMMIT PREPARED '$job->{id}/$try';\n";
	} ],
	[ 'prepared, rolled back', 3, 0, sub {
		my ($job, $try) = @_;

		return "BEGIN;\n" . purchase($job) . "PREPARE TRANSACTION '$job->{id}/$try';\nROLLBACK PREPARED '$job->{id}/$try';\n";
	} ],
	[ 'called', 12, 1, sub { "BEGIN;\n" . call($_[0]) . "COMMIT;\n" } ],
	[ 'called in a block', 4, 1, sub { "BEGIN;\n" . block($_[0], call($_[0]), 0) . "COMMIT;\n" } ],
	[ 'called, in a hurry', 3, 1, sub { "BEGIN;\nSET LOCAL statement_timeout = '20ms';\n" . call($_[0]) . "COMMIT;\n" } ],
	[ 'called or enqueued', 4, 1, sub { "BEGIN;\n" . ($_[1] % 2 ? call($_[0]) : enqueue($_[0])) . "COMMIT;\n" } ],
	[ 'called, rolled back', 3, 0, sub { "BEGIN;\n" . call($_[0]) . "ROLLBACK;\n" } ],
	[ 'called, savepoint', 3, 0, sub { "BEGIN;\nSAVEPOINT s;\n" . call($_[0]) . "ROLLBACK TO s;\nCOMMIT;\n" } ],
	[ 'called, block', 2, 0, sub { "BEGIN;\n" . block($_[0], call($_[0]), 1) . "COMMIT;\n" } ],
	[ 'called, prepared', 1, 0, sub { "BEGIN;\n" . call($_[0]) . "PREPARE TRANSACTION '$_[0]{id}/$_[1]';\n" } ]);

my $random = generator('orders');
my @wheel = map { ($_) x $_->[1] } @kinds;
my @servers = (('hub') x 4, ('shop_v1') x 3, ('shop_v2') x 3);
my (@jobs, %job);
for my $n (1 .. $orders)
{
	my $server = $servers[ $random->(scalar @servers) ];
	my ($lines, $options) = $content{$server}->($n);
	my $kind = $wheel[ $random->(scalar @wheel) ];

	push @jobs, {
		n => $n, id => "order-$n", server => $server, lines => $lines, ship_to => $address{$server},
		options => $options, round => int($n * $rounds / ($orders + 1)), kind => $kind->[0], wanted => $kind->[2], sql => $kind->[3],
		# A framework's retry, with the same content.
		tries => $kind->[2] ? 1 + $random->(4) : 1 };
	$job{"order-$n"} = $jobs[-1];
}

# ---- the sessions ----

my $results = PostgreSQL::Test::Utils::tempdir();

# The orders of a round are begun when it is; those of earlier ones are tried on.
sub begin_round
{
	my ($round) = @_;

	append_to_file("$results/rounds", "$round\n");
	return;
}

sub current_round
{
	return (-s "$results/rounds" // 0) ? (split /\n/, slurp_file("$results/rounds"))[-1] : -1;
}

# The reports of a run of psql: those jobs that were begun, and with what outcome.
sub run_batch
{
	my ($connection, $file, @batch) = @_;
	my ($out, $err) = ('', '');
	my $script = join '', map { "\\echo job $_->{n}\n" . $_->{sql}->($_, $_->{try}) . "\\echo end $_->{n}\n" } @batch;
	my %outcome;

	# Not by a pipe: whoever has lost the connection does not read it to its end.
	open my $written, '>', $file or die "could not write: $!";
	print {$written} $script;
	close $written;
	IPC::Run::run([ 'psql', '-XAt', '-v', 'VERBOSITY=verbose', '-d', $connection, '-f', $file ], '>', \$out, '2>', \$err);
	while ($out =~ /^job (\d+)\n(.*?)(?:^end \1$|\z)/msg)
	{
		my ($n, $said) = ($1, $2);

		# The trigger's statement is a transaction; what was caught was not committed with the rest.
		$outcome{$n} = $said =~ /^COMMIT(?: PREPARED)?\n\z/m && $said !~ /^intent\|0$/m || $said =~ /\AINSERT 0 [01]\n\z/ ?
		  'committed' : 'not committed';
	}
	return (\%outcome, $err);
}

# One session's jobs, some at a time; after a lost connection it comes back for the rest.
sub run_session
{
	my ($number, @mine) = @_;
	my $connection = $node->connstr('postgres');
	my $parent = getppid;

	open my $log, '>', "$results/$number" or die "could not write: $!";
	$log->autoflush;
	$_->{try} = 1 for @mine;
	while (@mine && getppid == $parent)
	{
		my $round = current_round();
		my @batch = grep { $_->{round} <= $round } @mine;

		splice @batch, 4 if @batch > 4;
		unless (@batch)
		{
			# A poll for the next round.
			select undef, undef, undef, 0.02;
			next;
		}
		my ($outcome, $err) = run_batch($connection, "$results/$number.sql", @batch);
		my @again;

		print {$log} map { "# $_\n" } split /\n/, $err;
		# Not let in: the server recovers.  This is a poll for its end.
		select undef, undef, undef, 0.1 unless %$outcome;
		for my $job (grep { $outcome->{ $_->{n} } } @batch)
		{
			print {$log} "$job->{id} $job->{try} $outcome->{$job->{n}}\n";
			push @again, $job if $outcome->{ $job->{n} } ne 'committed' && $job->{try}++ < $job->{tries};
		}
		@mine = ((grep { !$outcome->{ $_->{n} } } @mine), @again);
	}
	print {$log} "complete\n" unless @mine;
	close $log;
	return;
}

my @sessions;
sub start_sessions
{
	for my $number (0 .. $sessions - 1)
	{
		my $pid = fork // die "could not fork: $!";

		if ($pid == 0)
		{
			# The sandbox ends when nobody holds its standard input.
			close $sandbox->{in};
			eval { run_session($number, grep { $_->{n} % $sessions == $number } @jobs) };
			print STDERR $@ if $@;
			POSIX::_exit($@ ? 1 : 0);
		}
		push @sessions, { pid => $pid };
	}
	return;
}

END
{
	local $?;
	kill 'TERM', map { $_->{pid} } grep { !defined $_->{status} } @sessions;
}

# ---- who is killed ----

my @points = qw(claimed sent answered recorded taken journalled waiting told committed);
my @targets = ((map { ("at $_") x 3 } @points), ('worker') x 9, ('launcher') x 3, ('backend') x 7, ('server') x 5,
	('postmaster') x 3, ('worker, politely') x 3);
my %killed;
my $killed = 0;

sub armed
{
	my ($point) = @_;

	return $node->data_dir . "/cupsource.crash.$point";
}

# The server's processes by what they call themselves, without asking the server.
sub processes
{
	my ($pattern) = @_;
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my %found;

	for my $stat (glob '/proc/[0-9]*/stat')
	{
		open my $file, '<', $stat or next;
		my ($pid, $parent) = (<$file> // '') =~ /^(\d+) \(.*\) \S (\d+)/ or next;

		next unless $parent == $postmaster;
		open $file, '<', "/proc/$pid/cmdline" or next;
		my $title = <$file> // '';
		$found{$pid} = 1 if $title =~ $pattern;
	}
	return ($postmaster, sort { $a <=> $b } keys %found);
}

# Whoever works in the data directory, also without a postmaster.
sub survivors
{
	my $directory = abs_path($node->data_dir);

	return grep { (readlink("/proc/$_/cwd") // '') eq $directory } map { /(\d+)/ } glob '/proc/[0-9]*';
}

sub note_kill
{
	my ($target) = @_;

	$killed{$target}++;
	$killed++ unless $target =~ /politely/;
	return;
}

# Until it takes connections; after a kill of the postmaster its children may be a moment in the way.
sub start_again
{
	my $until = time + 60;

	until ($node->start(fail_ok => 1))
	{
		die "the server does not start again\n" if time > $until;
		$node->kill9;
		select undef, undef, undef, 0.1;
	}
	return;
}

sub strike
{
	my ($target, $random) = @_;

	if ($target =~ /^at (\w+)$/)
	{
		open my $file, '>', armed($1) or die "could not arm $1: $!";
		close $file;
		return;
	}
	my $pattern = $target =~ /^worker/ ? qr/cupsource worker/ : $target eq 'launcher' ? qr/cupsource launcher/ :
	  $target eq 'backend' ? qr/postgres: .* \[local\]/ : qr//;
	my ($postmaster, @found) = processes($pattern);

	if ($target eq 'server' || $target eq 'postmaster')
	{
		$node->kill9;
		# All of them: who waits for a lock of a process that was killed waits for ever without a postmaster.
		while ($target eq 'server' && (my @left = survivors()))
		{
			kill 'KILL', @left;
			select undef, undef, undef, 0.01;
		}
		note_kill($target);
		start_again();
	}
	else
	{
		# Somebody comes: sessions and the worker have work.
		my $until = time + 5;

		until (@found || time > $until)
		{
			select undef, undef, undef, 0.01;
			(undef, @found) = processes($pattern);
		}
		return unless @found;
		my $victim = $found[ $random->(scalar @found) ];

		note_kill($target) if kill($target =~ /politely/ ? 'TERM' : 'KILL', $victim);
	}
	return;
}

# The points that have killed somebody since the last look.
sub collect_points
{
	my ($armed) = @_;

	for my $point (grep { !-e armed($_) } keys %$armed)
	{
		note_kill("at $point");
		delete $armed->{$point};
	}
	return;
}

sub running
{
	return grep { !defined $_->{status} } map {
		my $child = $_;

		$child->{status} = $? if !defined $child->{status} && waitpid($child->{pid}, WNOHANG) == $child->{pid};
		$child;
	} @_;
}

# Requests that place an order.
my @posts = (method => 'POST', path => '.*/orders');

sub wait_for_posts
{
	my ($count, $timeout) = @_;

	return $sandbox->control(GET => $sandbox->with_query('wait', @posts, count => $count, timeout => $timeout));
}

# ---- the run ----

$sandbox->faults(
	{ action => 'drop_before', method => 'POST', path => 'orders$', probability => 0.04, seed => $seed },
	{ action => 'drop_after', method => 'POST', path => 'orders$', probability => 0.05, seed => $seed + 1 },
	{ action => 'reset', method => 'POST', path => 'orders$', probability => 0.01, seed => $seed + 2 },
	{ action => 'status', status => 500, method => 'POST', path => 'orders$', probability => 0.03, seed => $seed + 3 },
	{ action => 'status_after', status => 500, method => 'POST', path => 'orders$', probability => 0.03, seed => $seed + 4 },
	{ action => 'rate_limited', retry_after => 0, path => 'orders', probability => 0.03, seed => $seed + 5 },
	{ action => 'hang', path => 'orders$', probability => 0.01, seed => $seed + 6 },
	{ action => 'hang_after', path => 'orders$', probability => 0.01, seed => $seed + 7 },
	{ action => 'truncate', bytes => 20, path => 'orders$', probability => 0.01, seed => $seed + 8 },
	{ action => 'drop_before', method => 'DELETE', probability => 0.1, seed => $seed + 9 },
	{ action => 'drop_after', method => 'DELETE', probability => 0.1, seed => $seed + 10 },
	{ action => 'delay', ms => 100, path => 'orders$', probability => 0.3, seed => $seed + 11 },
	{ action => 'delay', ms => 20, path => 'orders$' });

my $started = time;
my $strike = generator('kills');
my (%armed, @plan);
start_sessions();
for my $round (0 .. $rounds - 1)
{
	my $posted = $sandbox->count(@posts);

	# Every target comes up as often as its share, in a random order.
	@plan = map { $_->[1] } sort { $a->[0] <=> $b->[0] } map { [ $strike->(1_000_000), $_ ] } @targets unless @plan;
	my $target = shift @plan;
	my $work = 1 + $strike->(16);

	# A while of work: some requests, or two seconds in which nothing gets through.
	begin_round($round);
	wait_for_posts($posted + $work, 2);
	collect_points(\%armed);
	strike($target, $strike);
	if ($target =~ /^at (\w+)/)
	{
		$armed{$1} = 1;
		wait_for_posts($posted + 16, 1);
	}
}
my $deadline = time + 120;
while (running(@sessions))
{
	collect_points(\%armed);
	die "the sessions do not end\n" if time > $deadline;
	select undef, undef, undef, 0.1;
}
collect_points(\%armed);
unlink armed($_) for keys %armed;

# Once more everything, so that nobody is half-way through an earlier end.
strike('server', $strike);
note(sprintf '%.1f s of chaos, %d kills: %s', time - $started, $killed, join ', ', map { "$_ $killed{$_}" } sort keys %killed);

# ---- the faults end, and everything comes to an end ----

$sandbox->no_faults;
my $settle = generator('prepared');
for my $gid (split /\n/, $node->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts ORDER BY gid'))
{
	$node->safe_psql('postgres', ($settle->(2) ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$gid'");
}

# Time passes: pauses after failures are over.  An order has the worker look.
$node->safe_psql('postgres', q{
	UPDATE cs_internal.orders SET next_attempt_at = now() WHERE state IN ('queued', 'cancelling');
	SELECT cs_enqueue_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',} . " '$address{hub}', 'the last one', '{}', 'hub')");
$job{'the last one'} = { id => 'the last one', server => 'hub', kind => 'enqueued', wanted => 1 };
$node->safe_psql('postgres', q{INSERT INTO intent VALUES ('the last one')});
my $drained = $node->poll_query_until('postgres', q{
	SELECT count(*) = 0 FROM cs_internal.orders
	 WHERE state IN ('queued', 'sending', 'cancelling') OR caller_xids IS NOT NULL});
ok($drained, 'the queue drains') or diag($node->safe_psql('postgres', q{
	SELECT external_id, server, path, state, attempts, next_attempt_at, caller_xids, lost_at, (error).message FROM cs_internal.orders
	 WHERE state IN ('queued', 'sending', 'cancelling') OR caller_xids IS NOT NULL}));
note(sprintf 'drained after %.1f s', time - $started);

# ---- the books ----

# What is not as it should be: none, or the first of them with their histories.
sub none
{
	my ($what, @bad) = @_;

	return if is(scalar @bad, 0, $what);
	for my $id (@bad[ 0 .. ($#bad < 9 ? $#bad : 9) ])
	{
		diag("$id ($job{$id}{server}, $job{$id}{kind}): " . $node->safe_psql('postgres', qq{
			SELECT concat_ws(' ', o.state, o.error_message,
			    (SELECT string_agg(concat_ws(' ', e.source, e.type, e.at::time), ', ' ORDER BY e.at, e.id)
			       FROM cs_order_events e WHERE e.order_id = o.id),
			    (SELECT string_agg(concat_ws(' ', a.attempt, a.delivery, a.status, a.failure), ', ' ORDER BY a.attempt)
			       FROM cs_order_attempts a WHERE a.order_id = o.id))
			  FROM cs_orders o WHERE o.external_id = '$id'}));
	}
	return;
}

my (%acknowledged, %tried);
my $complete = 0;
for my $number (0 .. $sessions - 1)
{
	for (split /\n/, slurp_file("$results/$number"))
	{
		$complete++ if $_ eq 'complete';
		next unless /^(order-\d+) (\d+) (.*)/;
		$tried{$1}++;
		$acknowledged{$1} = 1 if $3 eq 'committed' && $job{$1}{wanted};
	}
}
is($complete, $sessions, 'every session got through with its orders');
is(scalar keys %tried, $orders, 'every order was tried');

my %intent = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT external_id FROM intent UNION SELECT external_id FROM purchase');
my %row;
for (split /\n/, $node->safe_psql('postgres', q{SELECT external_id, path, state, remote_id, error_message IS NOT NULL FROM cs_orders}))
{
	my ($id, @columns) = split /\|/;

	@{ $row{$id} }{qw(path state remote_id reason)} = @columns;
}
my (%books, @strangers);
for my $order ($sandbox->orders)
{
	my ($line) = @{ $order->{body}{items} // [] };
	my $id = $order->{external_id} // 'order-' . ($line->{qty} - $first_quantity);

	push @{ $books{$id} }, $order;
	push @strangers, $id unless $row{$id};
}
my @ids = sort keys %job;
my @rows = sort keys %row;
my @hub = grep { $job{$_}{server} eq 'hub' } @rows;
my @shop = grep { $job{$_}{server} ne 'hub' } @rows;
sub at_partner { return scalar @{ $books{ $_[0] } // [] } }
sub alive      { return scalar grep { $_->{state} ne 'Cancelled' } @{ $books{ $_[0] } // [] } }

none('what was said to be committed is', grep { !$intent{$_} } keys %acknowledged);
none('every committed intent is an order', grep { !$row{$_} } keys %intent);
none('what the queue has was committed', grep { $row{$_}{path} eq 'queue' && !$intent{$_} } @rows);
is("@strangers", '', 'no partner has an order without a row');
none('no partner has an order twice', grep { at_partner($_) > 1 } @rows);

none('CustomHub: each committed intent is one order', grep { $intent{$_} && alive($_) != 1 } @hub);
none('and placed', grep { $intent{$_} && $row{$_}{state} ne 'placed' } @hub);
none('under its remote id', grep { $row{$_}{state} eq 'placed' && alive($_) == 1 && $books{$_}[0]{id} ne $row{$_}{remote_id} } @rows);
none('CustomHub: what was rolled back is cancelled, or known to be orphaned', grep { !$intent{$_} && alive($_) && $row{$_}{state} ne 'orphaned' } @hub);
none('what is cancelled here is cancelled there', grep { $row{$_}{state} eq 'cancelled' && alive($_) } @rows);
none('what has failed is not there', grep { $row{$_}{state} eq 'failed' && alive($_) } @rows);
none('Cup Source: each committed intent is placed, failed or uncertain', grep { $intent{$_} && $row{$_}{state} !~ /^(?:placed|failed|uncertain)$/ } @shop);
none('what is placed is there', grep { $row{$_}{state} eq 'placed' && alive($_) != 1 } @shop);
none('what has failed or is uncertain says why', grep { $row{$_}{state} =~ /^(?:failed|uncertain)$/ && $row{$_}{reason} ne 't' } @rows);
none('Cup Source: what was rolled back is orphaned, uncertain, or was never there',
	grep { !$intent{$_} && !($row{$_}{state} =~ /^(?:orphaned|uncertain)$/ || ($row{$_}{state} =~ /^(?:cancelled|failed)$/ && !at_partner($_))) } @shop);

# Each order's bytes are the same whenever they were sent.  Whose sender was killed before the last of
# them arrived has no body.
my (%bytes, %sent);
for my $request (grep { defined $_->{body} } $sandbox->requests(@posts))
{
	my $key = "$request->{api} $request->{headers}{'idempotency-key'}";

	$bytes{$key}{ $request->{body} } = 1;
	$sent{$key}++;
}
is(join("\n", map { keys %$_ } grep { keys %$_ > 1 } values %bytes), '', 'an order is sent again byte for byte');
cmp_ok(scalar(grep { $_ > 1 } values %sent), '>', 0, 'and some were');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_internal.orders o
	WHERE attempts <> (SELECT count(*) FROM cs_internal.order_attempts a WHERE a.order_id = o.id)}), '0', 'each attempt is on record');

cmp_ok($killed, '>=', $kills, "there were $kills kills");
is(join(' ', grep { !$killed{"at $_"} } $orders >= 1000 ? @points : ()), '', 'at every crash point somebody died');
unlike(slurp_file($node->logfile), qr/TRAP:|PANIC:|terminated by signal (?:4|6|7|8|11)\b/, 'nobody died of anything else');

my %states;
$states{"$job{$_}{server} $row{$_}{state}"}++ for @rows;
note(join ', ', map { "$_ $states{$_}" } sort keys %states);
done_testing();
