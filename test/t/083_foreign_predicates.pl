#!/usr/bin/perl
#
# A foreign table gives the rows that the live function gives, whatever the
# condition, and whether it is sent to the partner or not.  The conditions are
# random; SEED=n repeats a run.
use strict;
use warnings;
use CupsourceTest;
use Test::More;

my $seed = $ENV{SEED} // int(rand(1 << 30));
srand($seed);
note("SEED=$seed");

my $sandbox = CupsourceTest::Sandbox->start('--products' => 120, '--models' => 27, '--rate-limit' => 0);
my $node = cupsource_node('predicates');
create_accounts($node, $sandbox, options => { rate_limit => 0 });

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

for my $server ('hub', 'shop_v1', 'shop_v2')
{
	sql(qq{CREATE SCHEMA $server; IMPORT FOREIGN SCHEMA api FROM SERVER $server INTO $server;
		CREATE SCHEMA ${server}_unsent; IMPORT FOREIGN SCHEMA api FROM SERVER $server INTO ${server}_unsent;
		DO \$\$ DECLARE t regclass; BEGIN
		  FOR t IN SELECT oid FROM pg_class WHERE relnamespace = '${server}_unsent'::regnamespace LOOP
		    EXECUTE format('ALTER FOREIGN TABLE %s OPTIONS (ADD pushdown ''false'')', t);
		  END LOOP;
		END \$\$});
}

# Orders of different times.
for my $n (1 .. 12)
{
	sql(qq{INSERT INTO hub.orders (external_id, lines, ship_to) VALUES ('po-$n', '[{"sku": "BC-3001-L-BLACK", "quantity": $n}]',
		'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}')});
	$sandbox->advance_clock(3 + $n);
}

my $model = sql(q{SELECT model_id FROM cs_models('BC3001', server => 'hub')});

# What is compared: the table, what the live function gives, the columns, and
# which of them conditions are made of.
my @subjects = (
	{
		table => 'shop_v1.products', live => q{cs_products(server => 'shop_v1')},
		columns => 'product_id, sku, name, category, material, capacity, unit_price, currency, min_order_qty, stock_status, raw::text',
		texts => [qw(sku name category material capacity stock_status)], numbers => [qw(unit_price min_order_qty)],
	},
	{
		table => 'shop_v2.products', live => q{cs_products(server => 'shop_v2')},
		columns => 'product_id, sku, name, material, certifications, unit_price, min_order_qty, stock_status, lead_time_days, raw::text',
		texts => [qw(product_id sku name material stock_status)], numbers => [qw(unit_price min_order_qty lead_time_days)],
	},
	{
		table => 'hub.products', live => q{cs_products(server => 'hub')},
		columns => 'product_id, code, name, brand, unit_price, list_price, variation_count, is_featured, raw::text',
		texts => [qw(product_id code name brand)], numbers => [qw(unit_price variation_count)],
	},
	{
		table => 'hub.models', live => q{cs_models(server => 'hub')},
		columns => 'model_id, code, name, brand, primary_image_url, from_unit_price, currency, variation_count, is_featured',
		texts => [qw(model_id code name brand)], numbers => [qw(from_unit_price variation_count)],
	},
	{
		table => 'hub.variations', live => "cs_variations('$model', 'hub')", always => "product_id = '$model'",
		columns => 'variation_id, product_id, sku, variation_description, variation2_hex, is_active, images, unit_price, raw::text',
		texts => [qw(product_id sku variation2_description variation2_hex)], numbers => [qw(unit_price blank_cost)],
	},
	{
		table => 'hub.orders', live => q{cs_orders(server => 'hub')},
		columns => 'remote_id, external_id, state, remote_status, total, item_count, remote_created_at, last_shipped_at',
		texts => [qw(remote_id external_id remote_status state)], numbers => [qw(total item_count)], times => ['remote_created_at'],
	});

sub pick { return $_[ int rand @_ ]; }
sub quoted { my ($text) = @_; $text =~ s/'/''/g; return "'$text'"; }

# A value of the column as it is, or nearly.
sub text_value
{
	my ($subject, $column) = @_;
	my $value = pick(@{ $subject->{values}{$column} });

	return pick($value, $value, $value, lc $value, "$value ", substr($value, 1), '', 'x%');
}

sub condition
{
	my ($subject, $depth) = @_;
	my $kind = int rand($depth > 0 ? 12 : 9);

	return '(' . join(pick(' AND ', ' OR '), map { condition($subject, $depth - 1) } 1 .. 2) . ')' if $kind == 9 || $kind == 10;
	return 'NOT ' . condition($subject, $depth - 1) if $kind == 11;
	if ($subject->{times} && $kind < 4)
	{
		my $column = pick(@{ $subject->{times} });

		return sprintf '%s %s %s::timestamptz %s', $column, pick('>=', '>', '=', '<', '<='),
		  quoted(pick(@{ $subject->{values}{$column} })), pick('', "+ interval '0.5 s'", "- interval '1 s'");
	}
	if ($kind < 2)
	{
		my $column = pick(@{ $subject->{numbers} });

		return sprintf '%s %s %s', $column, pick('=', '<', '>=', '<>'), pick(@{ $subject->{values}{$column} });
	}
	my $column = pick(@{ $subject->{texts} });
	my $value = text_value($subject, $column);
	return "$column IS NULL" if $kind == 2 && rand() < 0.3;
	return "$column = " . quoted($value) if $kind < 5;
	return quoted($value) . " = $column" if $kind == 5;
	return "$column IN (" . join(', ', map { quoted(text_value($subject, $column)) } 1 .. 1 + int rand 3) . ')' if $kind == 6;
	$value = substr($value, int rand(1 + length($value) / 2), 1 + int rand 6);
	return "$column " . pick('LIKE', 'ILIKE', 'NOT ILIKE') . ' ' . quoted(pick("%$value%", "%$value%", "$value%", uc "%$value%"));
}

# One number for all rows, whatever their order.
sub digest
{
	my ($from, $columns, $where) = @_;

	return "(SELECT count(*) || ' ' || coalesce(md5(string_agg(r, '/' ORDER BY r COLLATE \"C\")), '')"
	  . " FROM (SELECT ROW($columns)::text FROM $from WHERE $where) AS x (r))";
}

my $sent = 0;
for my $subject (@subjects)
{
	my $columns = $subject->{columns};

	for my $column (map { @{ $subject->{$_} // [] } } qw(texts numbers times))
	{
		my @values = split /\n/, sql("SELECT DISTINCT $column FROM $subject->{live} WHERE $column IS NOT NULL ORDER BY 1");

		$subject->{values}{$column} = @values ? \@values : [0];
	}
	my $unsent = $subject->{table} =~ s/\./_unsent./r;
	my @wheres = map { join ' AND ', $subject->{always} // (), condition($subject, 2) } 1 .. 20;
	my @answers = split /\n/, sql(join ";\n", map {
			my $where = $_;
			'SELECT ' . join ', ', map { digest($_, $columns, $where) } $subject->{table}, $unsent, $subject->{live};
		} @wheres);

	for my $n (0 .. $#wheres)
	{
		my ($remote, $local, $live) = split /\|/, $answers[$n];

		is("$remote|$local", "$live|$live", "$subject->{table}: $wheres[$n]");
	}
	$sent += () = sql(join ";\n", map {"EXPLAIN VERBOSE SELECT $columns FROM $subject->{table} WHERE $_"} @wheres) =~ /Remote Filter/g;
}
cmp_ok($sent, '>=', 20, "of them, $sent were sent to the partner");

done_testing;
