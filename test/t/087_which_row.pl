#!/usr/bin/perl
#
# Of many rows that are to be ordered, an error names the one that it is about; a
# table's partitions have the trigger's function; and an order that is there already
# is told from another one.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = cupsource_node('which');
$node->safe_psql('postgres', <<'END');
INSERT INTO cs_internal.queue_claim (origin) VALUES ('another cluster');
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1', base_url 'http://127.0.0.1:9', auth_url 'http://127.0.0.1:9');
CREATE USER MAPPING FOR PUBLIC SERVER hub OPTIONS (api_key 'k', secret_key 's');
CREATE FUNCTION form(quantity int) RETURNS jsonb LANGUAGE sql RETURN jsonb_build_array(jsonb_build_object('sku', 'BC-1', 'quantity', quantity));
CREATE FUNCTION home() RETURNS jsonb LANGUAGE sql RETURN '{"name": "J", "line1": "1", "city": "B", "state": "NY", "postal_code": "1", "country": "US"}'::jsonb;

CREATE TABLE batch (po text, lines text, address jsonb DEFAULT home());
CREATE TRIGGER submit AFTER INSERT ON batch FOR EACH ROW EXECUTE FUNCTION
  cs_submit_order('server=hub', 'external_id=po', 'lines=lines', 'ship_to=address');
END

# The error of a statement, with its context but for the statements of functions.
sub error
{
	my ($statement) = @_;
	my ($result, $stdout, $stderr) = $node->psql('postgres', $statement);

	return join '; ', grep { !/^LINE|^ *\^|SQL (?:statement|function)/ } map { s/^psql:<stdin>:\d+: //r } split /\n/, $stderr;
}

is(error(q{INSERT INTO batch SELECT 'BA-' || i, form(CASE WHEN i = 3 THEN 0 ELSE 1 END) FROM generate_series(1, 5) AS i}),
	'ERROR:  order form is not valid for API "customhub-v1"; DETAIL:  lines[0].quantity: must be an integer from 1 to 10000; '
	. 'CONTEXT:  order "BA-3"; trigger "submit" on table "batch"', 'a form that is wrong');
is(error(q{INSERT INTO batch VALUES ('BA-1', form(1)), ('BA-2', 'Jane')}),
	'ERROR:  invalid input syntax for type json; DETAIL:  Token "Jane" is invalid.; '
	. 'CONTEXT:  JSON data, line 1: Jane; order "BA-2", argument "lines=lines" of trigger "submit" on table "batch"', 'a value that is none');
is(error(q{INSERT INTO batch VALUES ('BA-1', form(1)), ('BA-2', NULL)}),
	'ERROR:  trigger argument "lines=lines" of cs_submit_order gives null; '
	. 'CONTEXT:  order "BA-2", argument "lines=lines" of trigger "submit" on table "batch"', 'a value that is not there');
is(error(q{INSERT INTO batch VALUES ('BA-1', form(1)), (NULL, form(1))}),
	'ERROR:  trigger argument "external_id=po" of cs_submit_order gives null; '
	. 'CONTEXT:  argument "external_id=po" of trigger "submit" on table "batch"', 'nor an id');
for my $way ('SELECT cs_enqueue_order(form(q), home(), id)', 'INSERT INTO cs_orders (lines, ship_to, external_id) SELECT form(q), home(), id',
	'SELECT cs_create_order(form(q), home(), id)')
{
	like(error("$way FROM (VALUES ('F-2', 0)) AS v (id, q)"), qr/^ERROR:  order form .*; CONTEXT:  order "F-2"$/, $way);
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM cs_orders'), 0, 'none of them is left');

# A function of the partitioned table's rows, for whichever partition; one of its own goes first.
$node->safe_psql('postgres', <<'END');
CREATE TABLE parted (lines jsonb, po text, y int) PARTITION BY LIST (y);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 (extra int, y int, po text, lines jsonb);
ALTER TABLE parted_2 DROP COLUMN extra;
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
CREATE TABLE parted_3 PARTITION OF parted FOR VALUES IN (3);
CREATE FUNCTION name(parted) RETURNS text LANGUAGE sql RETURN $1.po || ' of ' || $1.y;
CREATE FUNCTION name(parted_3) RETURNS text LANGUAGE sql RETURN 'third ' || $1.po;
CREATE TRIGGER submit AFTER INSERT ON parted FOR EACH ROW EXECUTE FUNCTION
  cs_submit_order('server=hub', 'external_id=public.name()', 'lines=lines', 'ship_to=public.address()');
CREATE FUNCTION address(parted) RETURNS jsonb LANGUAGE sql RETURN home();
INSERT INTO parted SELECT form(1), 'P-' || y, y FROM generate_series(1, 3) AS y;
END
is($node->safe_psql('postgres', q{SELECT string_agg(external_id, ', ' ORDER BY external_id) FROM cs_orders}), 'P-1 of 1, P-2 of 2, third P-3',
	'partitions call the function of their table');

# The same order again, and what is said of one that is not to be had by that.
my $same = q{SELECT cs_enqueue_order('[{"sku": "BC-1", "quantity": 1, "designs": null}]', home() || '{"line2": null}', 'P-1 of 1', '{"notes": null}')};
is(error($same), '', 'a field that is null is one that is not there');
like(error($same =~ s/"quantity": 1/"quantity": 2/r =~ s/"notes": null/"notes": "x"/r), qr/ is queued; it has other lines, options\.;/, 'what differs is said');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET state = 'failed', error.message = 'no such thing' WHERE external_id LIKE 'P-%'});
like(error($same), qr/^WARNING:  order "P-1 of 1" on server "hub" is failed and is not queued again; DETAIL:  no such thing; HINT:  Use cs_resolve_order\(\d+, 'retry'\) to have it sent again\.$/,
	'an order that has failed is not queued silently');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET is_final = true WHERE external_id LIKE 'P-%'});
like(error($same), qr/^WARNING: .*HINT:  Use cs_resubmit_order\(\d+, \.\.\.\) to have it sent under a new external id\.$/, 'nor one for which its id is used up');


# Whatever callers still stand by it, or have given up; what is advised is what can be done.
sub found
{
	my ($columns) = @_;

	$node->safe_psql('postgres', qq{UPDATE cs_internal.orders SET path = 'call', is_final = false, caller_xids = NULL, lost_at = NULL, error = NULL, attempts = 1,
		cancel_requested_at = NULL WHERE external_id = 'P-1 of 1'; UPDATE cs_internal.orders SET $columns WHERE external_id = 'P-1 of 1'});
	return error($same);
}

for my $callers ('NULL', q('{3}'))
{
	like(found("caller_xids = $callers, state = 'failed', is_final = true"), qr/^WARNING:  order .* is failed and is not queued again;/, "refused for good, caller $callers");
	like(found("caller_xids = $callers, state = 'uncertain'"), qr/^WARNING:  order .* is uncertain and is not queued again;/, "uncertain, caller $callers");
	like(found("caller_xids = $callers, state = 'rejected'"), qr/^WARNING:  order .* is rejected and is not queued again;/, "rejected, caller $callers");
	like(found("caller_xids = $callers, state = 'cancelled'"), qr/^WARNING:  order .* is cancelled and is not queued again;/, "cancelled by a person, caller $callers");
	like(found("caller_xids = $callers, state = 'cancelling'"), qr/^WARNING:  order .* is being cancelled and is not queued again;.* HINT:  Once it is cancelled, use cs_resubmit_order/,
		"on its way to be cancelled, caller $callers");
	like(found("caller_xids = $callers, state = 'sending', cancel_requested_at = now()"), qr/^WARNING:  order .* is being cancelled and is not queued again;/, "to be cancelled, caller $callers");
	is(found("caller_xids = $callers, state = 'placed'"), '', "but not of one that is there, caller $callers");
}
like(found(q{state = 'cancelled', lost_at = now()}), qr/^ERROR:  the order with this external id was cancelled; DETAIL: .* rolled back\./, 'cancelled because its caller rolled back');
like(found(q{state = 'cancelling', lost_at = now()}), qr/^ERROR:  the order with this external id is being cancelled; .* HINT:  Once it is cancelled/,
	'that is not advised before it is known: two might be made');
is(found(q{state = 'failed'}), '', 'one that failed for its caller is queued again');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET state = 'failed', is_final = true, path = 'queue' WHERE external_id = 'P-1 of 1';
	SELECT cs_resubmit_order('P-1 of 1', 'P-1 again')});
like(error($same), qr/^WARNING: .*; HINT:  It was submitted again as "P-1 again"\.$/, 'nor is it advised to submit again what was');
like(found(q{state = 'cancelled', is_final = true, lost_at = now()}), qr/^ERROR:  .* was cancelled; .*; HINT:  It was submitted again as "P-1 again"\.$/,
	'nor to order it under another external id');

$node->stop;
done_testing();
