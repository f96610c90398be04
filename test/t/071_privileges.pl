# Who may see and do what: USAGE on the server decides, and nobody's own
# functions, operators or tables run or are read with the rights of another.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = cupsource_node('privileges');

# The queue is on hold, so that nothing but the sessions here moves.
$node->safe_psql('postgres', q{
	INSERT INTO cs_internal.queue_claim (origin) VALUES ('another cluster');
	CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', base_url 'http://127.0.0.1:9/v1');
	CREATE USER MAPPING FOR PUBLIC SERVER shop OPTIONS (api_key 'unused');
	CREATE ROLE buyer; CREATE ROLE stranger; CREATE ROLE mallory;
	GRANT USAGE ON FOREIGN SERVER shop TO buyer;
	GRANT CREATE ON SCHEMA public TO buyer, stranger, mallory});

my $form = q{'[{"sku": "CS-8OZ-ECO", "quantity": 1000}]', '{"line1": "1 Way", "city": "Portland", "state": "OR",
	"postal_code": "97201"}', 'EXTERNAL', '{"currency": "USD"}', 'shop'};

sub enqueue
{
	my $external_id = shift;

	return 'SELECT state FROM cs_enqueue_order(' . $form =~ s/EXTERNAL/$external_id/r . ')';
}

#
# Objects that somebody has put into the way
#
$node->safe_psql('postgres', q{
	SET ROLE mallory;
	CREATE TABLE public.caught (who text, what text);
	GRANT INSERT, SELECT ON public.caught TO PUBLIC;
	CREATE FUNCTION public.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
	  INSERT INTO public.caught VALUES (current_user, 'operator'); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
	CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.equal);
	CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN
	  INSERT INTO public.caught VALUES (current_user, 'function'); RETURN pg_catalog.now(); END $$;
	CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	  INSERT INTO public.caught VALUES (current_user, 'function'); END $$;
	CREATE TABLE public.orders (id int); CREATE TABLE public.products (id int);
	CREATE DOMAIN public.text AS pg_catalog.text});
is($node->safe_psql('postgres', 'SET ROLE buyer; SET search_path = public, pg_catalog; CREATE TEMP TABLE orders (id int);'
		. 'CREATE TEMP TABLE pg_foreign_server (srvname int); ' . enqueue('po-1') . q{; SELECT state FROM cs_order('po-1');
		SELECT cs_order_status('po-1'); SELECT state FROM cs_cancel_order('po-1'); SELECT count(*) FROM cs_orders;
		SELECT count(*) FROM cs_queue; SELECT count(*) FROM cs_prices; SELECT count(*) FROM cs_catalog_status}),
	"queued\nqueued\nqueued\ncancelled\n1\n0\n0\n1", 'objects in the search path are not taken for ours');
is($node->safe_psql('postgres', 'SELECT count(*) FROM public.caught'), '0', 'and none of them is called');
$node->safe_psql('postgres', 'DROP OWNED BY mallory CASCADE; GRANT CREATE ON SCHEMA public TO mallory');

#
# A mapping's function is its user's
#
is($node->safe_psql('postgres', q{SET ROLE buyer;
	CREATE TABLE erp (po text, who text);
	CREATE TABLE called_by (who text);
	CREATE FUNCTION lines_of(erp) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
	  INSERT INTO called_by VALUES (current_user);
	  RETURN '[{"sku": "CS-8OZ-ECO", "quantity": 1000}]'; END $$;
	CREATE TRIGGER submit AFTER INSERT ON erp FOR EACH ROW EXECUTE FUNCTION
	  cs_submit_order('server=shop', 'external_id=po', 'lines=lines_of()', 'currency=''USD''',
	    'ship_to=''{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201"}''');
	INSERT INTO erp VALUES ('po-2'); INSERT INTO erp VALUES ('po-3');
	SELECT string_agg(DISTINCT who, ' ') FROM called_by; SELECT created_by FROM cs_orders WHERE external_id = 'po-3'}),
	"buyer\nbuyer", 'a function of a mapping runs as the user, and so does the order');

#
# Without USAGE
#
is($node->safe_psql('postgres', 'SET ROLE stranger; SELECT ' . join(', ', map {"(SELECT count(*) FROM $_)"}
		qw(cs_orders cs_order_lines cs_order_events cs_order_attempts cs_shipments cs_queue cs_products cs_prices
		  cs_price_history cs_balance cs_catalog_status cs_stat_requests))),
	join('|', (0) x 12), 'the views are empty');
my (undef, undef, $err) = $node->psql('postgres', q{SET ROLE stranger;
	CREATE FUNCTION leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END $$;
	SELECT * FROM cs_orders WHERE leak(external_id); SELECT * FROM cs_order_events WHERE leak(external_id);
	SELECT * FROM cs_queue WHERE leak(external_id); SELECT * FROM cs_catalog_status WHERE leak(server)});
is($err, '', 'also for a function in WHERE that tells what it is given');
for my $refused (
	[ 'PA404', q{SELECT cs_order('po-2')} ], [ 'PA404', 'SELECT cs_order(2)' ],
	[ 'PA404', q{SELECT cs_order_status('po-2')} ], [ 'PA404', 'SELECT cs_cancel_order(2)' ],
	[ 'PA404', q{SELECT cs_resolve_order('po-2', 'failed')} ], [ 'PA404', q{SELECT cs_resubmit_order('po-2', 'x')} ],
	[ 'PA404', q{SELECT cs_order_tracking('po-2')} ], [ '42501', enqueue('po-2') ],
	[ '42501', enqueue('po-4') =~ s/enqueue/create/r ], [ '42501', q{CALL cs_refresh_catalog('shop')} ],
	[ '42501', q{SELECT * FROM cs_products(server => 'shop')} ],
	[ '42501', 'SELECT * FROM cs_internal.orders' ], [ '42501', q{SELECT cs_internal.order_cancel(2, 'me')} ],
	[ '42501', 'SELECT cs_adopt_queue()' ], [ '42501', 'SELECT cs_stat_reset()' ],
	[ '42501', q{ALTER SERVER shop RENAME TO mine} ], [ '42501', 'DROP SERVER shop CASCADE' ])
{
	my ($sqlstate, $statement) = @$refused;

	is(query_state($node, "SET ROLE stranger; $statement"), $sqlstate, "$sqlstate: " . substr($statement, 0, 50));
}
is(order_count($node, q{state = 'queued'}), 2, 'and the orders are as they were');

# A server that gets the name of an earlier one.
$node->safe_psql('postgres', q{
	UPDATE cs_internal.orders SET state = 'failed';
	INSERT INTO cs_internal.balances (server, balance, fetched_at, fingerprint) VALUES ('gone', 1, now(), 1);
	DROP SERVER shop CASCADE;
	GRANT USAGE ON FOREIGN DATA WRAPPER cupsource TO mallory});
is(query_state($node, q{SET ROLE mallory; CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1')}),
	'42710', 'does not inherit its orders');
is(query_state($node, q{SET ROLE mallory; CREATE SERVER gone FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1')}),
	'00000', 'a name without orders may be used again');
is($node->safe_psql('postgres', q{SET ROLE mallory; SELECT count(*) FROM cs_balance}), 0, 'but what was cached is gone');
is(query_state($node, q{CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1')}),
	'00000', 'a superuser may mean the account that was there');
is(order_count($node, q{server = 'shop'}), 3, 'and gets its orders');

$node->stop;
done_testing();
