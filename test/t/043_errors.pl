# Each row of the documents' error tables is an SQL error: SQLSTATE PA and the
# status, the partner's message, its code and fields as DETAIL, the document's
# resolution as HINT; on a read and on an order.
use strict;
use warnings;

use CupsourceReplay;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $partner = CupsourceReplay->start;
my $node = cupsource_node('errors', conf => 'cupsource.max_retries = 0');
my $token = '{"accessToken": "eyJhbGc", "expired": "2099-05-19T19:00:00+00:00"}';
my $auth = '/api/PartnerAuthentication/auth';
my $renewed = 0;

# A key that is told to wait waits in all sessions, so those of paused.. are apart.
for my $kind ('shop', 'paused')
{
	create_account($node, "${kind}1", api => 'cupsource-v1', base_url => $partner->url . '/v1', secrets => { api_key => "key-$kind" });
	create_account($node, "${kind}2", api => 'cupsource-v2', base_url => $partner->url . '/v2', secrets => { api_key => "key-$kind" });
	create_account($node, "${kind}hub", api => 'customhub-v1', base_url => $partner->url, auth_url => $partner->url,
		secrets => { api_key => "ek_live_$kind", secret_key => 'esk_live_1' });
}

# A new key, which nobody has told to wait.
sub renew
{
	my ($server) = @_;

	$node->safe_psql('postgres', "ALTER USER MAPPING FOR PUBLIC SERVER $server OPTIONS (SET api_key 'ek_live_" . ++$renewed . "')");
	return;
}

my $address = '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}';
my %order = (
	1 => [ 'POST /v1/orders', 'POST /orders', '[{"sku": "S1", "quantity": 1}]', '{"line1": "1 Way", "city": "Portland", "postal_code": "97201"}' ],
	2 => [ 'POST /v2/orders', 'POST /orders', '[{"product_id": "p1", "quantity": 1}]',
		'{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}' ],
	hub => [ 'POST /api/v1/orders', 'POST /api/v1/orders', '[{"sku": "S1", "quantity": 1}]', $address ],
);
my %read = (
	1 => [ 'GET /v1/products?page=1', 'GET /products', 'cs_products' ],
	2 => [ 'GET /v2/products?limit=100', 'GET /products', 'cs_products' ],
	hub => [ 'GET /api/v1/balance', 'GET /api/v1/balance', 'cs_balance' ],
);
my $orders = 0;

# The statement that reads or orders at the partner; with the external id of the order.
sub statement
{
	my ($what, $api, $server) = @_;

	return ("SELECT * FROM $read{$api}[2](server => '$server');", undef) if $what eq 'read';
	my (undef, undef, $lines, $ship_to) = @{ $order{$api} };
	my $id = 'PO-' . ++$orders;
	return ("SELECT cs_create_order('$lines', '$ship_to', '$id', server => '$server');", $id);
}

# How psql prints an error.
sub printed
{
	my ($sqlstate, $message, $detail, $hint) = @_;

	return "ERROR:  $sqlstate: $message\n"
	  . (defined $detail ? "DETAIL:  $detail\n" : '')
	  . (defined $hint ? "HINT:  $hint\n" : '');
}

# Answers of an API, each with the error that it is; all by one session.
#   [ what, status, body, SQLSTATE, message, detail behind the status, hint ]
sub check
{
	my ($api, $title, @cases) = @_;
	my ($sql, $expected, @requests) = ('', '');
	my %ids;

	$partner->clear;
	$partner->answers("POST $auth" => $token, times => undef);
	for (@cases)
	{
		my ($what, $status, $body, $sqlstate, $message, $more, $hint) = @$_;
		my ($request, $endpoint) = @{ $what eq 'read' ? $read{$api} : $order{$api} };
		my $server = ($status == 429 ? 'paused' : 'shop') . $api;
		my ($statement, $id) = statement($what, $api, $server);

		# A token that is refused is renewed, once.
		my $times = $status == 401 && $api eq 'hub' ? 2 : 1;
		$partner->answers($request => $body, status => $status, times => $times,
			headers => $status == 429 ? { 'Retry-After' => '7200' } : {});
		$sql .= "$statement\n";
		$expected .= printed($sqlstate, $message, qq(Server "$server", $endpoint: HTTP status $status$more.), $hint);
		push @requests, $request =~ s/\?.*//r for 1 .. $times;
		$ids{$id} = [ $sqlstate, $message ] if $id;
	}
	is(refusal($node, $sql =~ s/\n\z//r), $expected, $title);
	is_deeply([ grep { !/PartnerAuth/ } map {"$_->{method} $_->{path}"} $partner->arrived ], \@requests, "$title: asked once each, with a new token after a 401");
	return unless %ids;
	is($node->safe_psql('postgres', 'SELECT external_id, error_sqlstate, error_message FROM cs_orders WHERE external_id IN ('
			  . join(', ', map {"'$_'"} keys %ids) . ') ORDER BY id'),
		join("\n", map { join '|', $_, @{ $ids{$_} } } sort { substr($a, 3) <=> substr($b, 3) } keys %ids),
		"$title: the orders keep why");
	return;
}

# States of the orders since the $n-th, in order.
sub states
{
	my ($n) = @_;

	return $node->safe_psql('postgres', "SELECT string_agg(state, ' ' ORDER BY id) FROM cs_orders WHERE substr(external_id, 4)::int > $n");
}

#
# Cup Source, section "Rate Limits & Errors": Status Code, Meaning, Resolution
#
my @statuses = (
	[ 400, 'Bad Request', 'Check payload structure and required fields.' ],
	[ 401, 'Unauthorized', 'Verify API key validity and expiration.' ],
	[ 403, 'Forbidden', 'The account lacks required permissions.' ],
	[ 404, 'Not Found', 'The endpoint or resource ID is invalid.' ],
	[ 500, 'Server Error', 'Contact support if persistent.' ],
	[ 429, 'Rate Limited', 'Implement exponential backoff: try again after the time that Retry-After gives.' ],
);

# An order that a 500 leaves open says what to do about it instead.
sub order_hint
{
	my ($status, $hint, $id) = @_;

	return $hint unless $status == 500;
	return "It may have been placed, so it is not sent again. Look for it at the partner, "
	  . "then use cs_resolve_order($id, 'placed', ...), 'retry' or 'failed'.";
}

for my $api (1, 2)
{
	my $before = $orders;

	check($api, "v$api, nothing but the status", map { [ 'read', $_->[0], '', "PA$_->[0]", $_->[1], '', $_->[2] ] } @statuses[ 0 .. 4 ]);
	check($api, "v$api, {error: {code, message, details}}", map { [ 'read', $_->[0],
			qq({"error": {"code": "E$_->[0]", "message": "Said of $_->[0].", "details": [{"field": "a.b", "message": "is odd"}, {"field": "c"}]}}),
			"PA$_->[0]", "Said of $_->[0].", ", error code E$_->[0]; a.b: is odd; c", $_->[2] ] } @statuses);
	my $id = $node->safe_psql('postgres', 'SELECT coalesce(max(id), 0) FROM cs_orders');
	check($api, "v$api, an order, {message}", map { [ 'order', $_->[0], qq({"message": "Said of $_->[0]."}), "PA$_->[0]", "Said of $_->[0].", '',
			order_hint($_->[0], $_->[2], ++$id) ] } @statuses[ 0 .. 4 ]);
	is(states($before), 'failed failed failed failed uncertain', 'a refused order has failed, and a 500 may have placed it');
}

# The other forms of section 1, of which the vendor promises none.
check(1, 'v1, other forms',
	[ 'read', 400, '{"error": "The cup is full."}', 'PA400', 'The cup is full.', '', $statuses[0][2] ],
	[ 'read', 400, '{"success": false, "error": {"message": "No code."}}', 'PA400', 'No code.', '', $statuses[0][2] ],
	[ 'read', 400, '{"code": 17, "message": "Flat.", "details": {"field": "q"}}', 'PA400', 'Flat.', ', error code 17; q', $statuses[0][2] ],
	[ 'read', 400, '{"errors": ["first", "second", {"path": "x", "reason": "odd"}, null, 5, {"y": 1}]}', 'PA400', 'Bad Request',
		'; first; second; x: odd; 5; {"y":1}', $statuses[0][2] ],
	[ 'read', 422, '{"errors": [{"message": "Bad cup."}, {"message": "Bad lid."}]}', 'PA422', 'Bad cup.', '; Bad cup.; Bad lid.', undef ],
	[ 'read', 400, '{"error": {"code": "COLD", "details": []}}', 'PA400', 'Bad Request', ', error code COLD', $statuses[0][2] ],
	[ 'read', 400, '{"type": "about:blank", "title": "Odd.", "status": 400, "errors": {"items[0].sku": ["is odd"]}}', 'PA400', 'Odd.',
		'; {"items[0].sku":["is odd"]}', $statuses[0][2] ],
	[ 'read', 403, '{"title": "Forbidden", "detail": "The account is closed.", "status": 403}', 'PA403', 'The account is closed.', '', $statuses[2][2] ],
	[ 'read', 422, '{"detail": [{"loc": ["body", "items"], "msg": "is missing"}]}', 'PA422', 'Cup Source v1 answered with HTTP status 422',
		'; {"loc":["body","items"],"msg":"is missing"}', undef ],
	[ 'read', 400, '{"error": null, "message": "", "details": null}', 'PA400', 'Bad Request', '', $statuses[0][2] ],
	[ 'read', 400, '{"error": []}', 'PA400', 'Bad Request', '', $statuses[0][2] ],
	[ 'read', 400, '[]', 'PA400', 'Bad Request', '', $statuses[0][2] ],
	[ 'read', 400, '"no"', 'PA400', 'Bad Request', '', $statuses[0][2] ],
	[ 'read', 404, '<html>Not here</html>', 'PA404', 'Not Found', '', $statuses[3][2] ],
	[ 'read', 400, qq({"message": "two\\nlines\\u0007 and a \\u2713"}), 'PA400', "two lines  and a \x{e2}\x{9c}\x{93}", '', $statuses[0][2] ],
	[ 'read', 400, '{"message": "' . 'x' x 600 . '"}', 'PA400', 'x' x 500 . '...', '', $statuses[0][2] ],
	[ 'read', 418, '', 'PA418', 'Cup Source v1 answered with HTTP status 418', '', undef ],
	[ 'read', 451, '{"error": {"code": "LAW", "message": "Not there."}}', 'PA451', 'Not there.', ', error code LAW', undef ],
	[ 'read', 503, '', 'PA503', 'Cup Source v1 answered with HTTP status 503', '', undef ],
	[ 'order', 418, '', 'PA418', 'Cup Source v1 answered with HTTP status 418', '', undef ]);

#
# CustomHub, section "Error codes": Code, HTTP, Meaning, and what we advise
#
my @codes = (
	[ 'UNAUTHORIZED', 401, 'Missing or invalid JWT', 'Check api_key and secret_key of the user mapping.' ],
	[ 'FORBIDDEN', 403, 'JWT valid but missing required scope',
		'Grant the key the scope in Settings, API Keys: products_r for the catalogue, orders_r for reading orders, orders_w for placing them.' ],
	[ 'VALIDATION_ERROR', 400, 'Request body / query failed validation', undef ],
	[ 'SKU_NOT_FOUND', 400, "SKU isn't a known ModelVariation in this tenant's catalog",
		'Take the SKU from cs_variations; refresh the catalogue if it may have changed.' ],
	[ 'PLACEMENT_NOT_SUPPORTED_FOR_SKU', 400, 'Placement code not configured for this model',
		"Take the placement from cs_placements of the SKU's model." ],
	[ 'PRINT_DIMENSIONS_EXCEED_PLACEMENT_MAX', 400, "widthInches / heightInches exceeds the placement's max",
		'The largest dimensions are in cs_placements.' ],
	[ 'DESIGN_FETCH_FAILED', 400, 'The design URL could not be downloaded',
		'The URL must be HTTPS and publicly reachable at submit time.' ],
	[ 'DESIGN_FORMAT_INVALID', 400, 'Unsupported format. v1 accepts PNG and JPEG only.', 'Give a PNG or JPEG file.' ],
	[ 'DESIGN_TOO_LARGE', 400, 'Design file exceeds 100 MB', 'Give a design file of at most 100 MB.' ],
	[ 'INSUFFICIENT_BALANCE', 402, 'Wallet headroom check failed', 'Top up and retry with a different external id.' ],
	[ 'EXTERNAL_ORDER_ID_CONFLICT', 409, 'Same externalOrderId replayed with a different body', 'Use another external id for another order.' ],
	[ 'ORDER_NOT_CANCELLABLE', 400, 'Order is past ApprovalPending', 'Contact your account team.' ],
	[ 'NOT_FOUND', 404, "Resource doesn't exist or isn't visible to this credential", undef ],
	[ 'ORDER_CREATE_IN_PROGRESS', 409, 'A concurrent request with the same externalOrderId is in flight',
		'Try again with the same external id and the same content.' ],
	[ 'RATE_LIMITED', 429, 'Per-credential rate limit hit', 'Honor Retry-After: try again after the time that it gives.' ],
);

check('hub', 'CustomHub, a read', map { [ 'read', $_->[1],
		qq({"success": false, "error": {"code": "$_->[0]", "message": "said of $_->[0]", "details": [{"field": "items[0].sku"}]}}),
		"PA$_->[1]", "said of $_->[0]", ", error code $_->[0]; items[0].sku", $_->[3] ] } @codes);
my $before = $orders;
check('hub', 'CustomHub, an order, without a message', map { [ 'order', $_->[1], qq({"success": false, "error": {"code": "$_->[0]"}}),
		"PA$_->[1]", $_->[2], ", error code $_->[0]", $_->[3] ] } @codes[ 0 .. 12 ]);
is(states($before), join(' ', ('failed') x 13), 'each order has failed');
is($node->safe_psql('postgres', "SELECT error_code, error_hint FROM cs_orders WHERE error_sqlstate = 'PA402'"),
	'INSUFFICIENT_BALANCE|Top up and retry with a different external id.', 'and says what to do');

# The example of the error envelope
check('hub', 'the document\'s envelope', [ 'order', 400, <<'END', 'PA400', 'one or more skus are not found or not orderable', ', error code SKU_NOT_FOUND; items[0].sku', $codes[3][3] ]);
{
  "success": false,
  "error": {
    "code":    "SKU_NOT_FOUND",
    "message": "one or more skus are not found or not orderable",
    "details": [{ "field": "items[0].sku" }]
  }
}
END

# "adding a new code is non-breaking"
check('hub', 'what the document does not list',
	[ 'read', 400, '{"success": false, "error": {"code": "WAREHOUSE_ON_FIRE", "message": "It burns."}}', 'PA400', 'It burns.', ', error code WAREHOUSE_ON_FIRE', undef ],
	[ 'order', 409, '{"success": false, "error": {"code": "WAREHOUSE_ON_FIRE"}}', 'PA409', 'CustomHub v1 answered with HTTP status 409', ', error code WAREHOUSE_ON_FIRE', undef ],
	[ 'read', 418, '', 'PA418', 'CustomHub v1 answered with HTTP status 418', '', undef ],
	[ 'read', 401, '', 'PA401', 'Missing or invalid JWT', '', $codes[0][3] ],
	[ 'read', 404, '<html></html>', 'PA404', 'CustomHub v1 answered with HTTP status 404', '', undef ],
	[ 'read', 500, '', 'PA500', 'CustomHub v1 answered with HTTP status 500', '', undef ],
	[ 'read', 409, '{"success": false, "error": {"code": "NOT_FOUND", "message": "Gone."}}', 'PA409', 'Gone.', ', error code NOT_FOUND', undef ]);

# A reason in plain words.
$partner->clear;
$partner->answers('GET /v1/products?page=1' => "qty must be positive\n", status => 400, headers => { 'Content-Type' => 'text/plain; charset=utf-8' });
is(refusal($node, q{SELECT * FROM cs_products(max_rows => 1, server => 'shop1')}), printed('PA400', 'Bad Request',
		'Server "shop1", GET /products: HTTP status 400. The answer says: qty must be positive', $statuses[0][2]), 'plain words are told');

# An envelope of failure counts, whatever the status says; its code has the document's status.
$partner->clear;
$partner->answers("POST $auth" => $token, times => undef);
$partner->answers('GET /api/v1/balance' => '{"success": false, "error": {"code": "FORBIDDEN", "message": "no scope"}}');
$partner->answers('GET /api/v1/balance' => '{"success": false}');
is(refusal($node, join ";\n", (q{SELECT * FROM cs_balance(server => 'shophub')}) x 2), printed('PA403', 'no scope',
		'Server "shophub", GET /api/v1/balance: HTTP status 200, error code FORBIDDEN.', $codes[1][3])
	  . printed('PA006', 'malformed answer from server "shophub": GET /api/v1/balance: "success" is false without an error (HTTP status 200)'),
	'success: false with status 200');

#
# Where the codes belong: models, quotes, designs, cancellation, tokens
#
$partner->answers('GET /api/v1/models/m1' => '{"success": false, "error": {"code": "NOT_FOUND"}}', status => 404, times => 5);
is(refusal($node, join ";\n", map {"SELECT * FROM $_('m1', server => 'shophub')"} qw(cs_model cs_product cs_variations cs_placements cs_print_methods)),
	printed('PA404', $codes[12][2], 'Server "shophub", GET /api/v1/models/{model_id}: HTTP status 404, error code NOT_FOUND.') x 5,
	'a model that does not exist');
$partner->answers('POST /api/v1/orders/quote' => '{"success": false, "error": {"code": "VALIDATION_ERROR", "message": "zip is odd", "details": [{"field": "shippingAddress.zip"}]}}',
	status => 400);
is(refusal($node, qq{SELECT cs_quote_order('[{"sku": "S1", "quantity": 1}]', '$address', server => 'shophub')}),
	printed('PA400', 'zip is odd', 'Server "shophub", POST /api/v1/orders/quote: HTTP status 400, error code VALIDATION_ERROR; shippingAddress.zip.'), 'a quote');

$partner->answers('POST /api/v1/orders' => '{"success": true, "data": {"orderId": "o1", "status": "ApprovalPending"}}', status => 201);
$node->safe_psql('postgres', qq{SELECT cs_create_order('[{"sku": "S1", "quantity": 1}]', '$address', 'there', server => 'shophub')});
# The worker looks at the order as soon as its cancellation is refused.
my $one = '{"success": true, "data": {"orderId": "o1", "productionStatus": "Approved", "items": [{"id": "i1"}]}}';
$partner->answers('GET /api/v1/orders/o1' => $one, times => undef);
$partner->answers('DELETE /api/v1/orders/o1' => '{"success": false, "error": {"code": "ORDER_NOT_CANCELLABLE"}}', status => 400);
is(refusal($node, q{SELECT cs_cancel_order('there')}),
	printed('PA400', $codes[11][2], 'Server "shophub", DELETE /api/v1/orders/{id}: HTTP status 400, error code ORDER_NOT_CANCELLABLE.', $codes[11][3]),
	'a cancellation that is refused');
is($node->safe_psql('postgres', q{SELECT cs_order_status('there', '0')}), 'approved', 'the order goes on');
$partner->answers('POST /api/v1/orders/o1/items/i1/designs' => '{"success": false, "error": {"code": "ORDER_NOT_MUTABLE"}}', status => 409);
is(refusal($node, q{SELECT cs_add_designs('there', 1, '[{"url": "https://cdn.partner.com/a.png", "placement": "width1", "width_inches": 1, "height_inches": 1}]')}),
	printed('PA409', 'The order is past ApprovalPending',
		'Server "shophub", POST /api/v1/orders/{id}/items/{item}/designs: HTTP status 409, error code ORDER_NOT_MUTABLE.',
		'After approval an order cannot be changed; contact your account team.'), 'designs after approval');

create_account($node, 'stranger', api => 'customhub-v1', base_url => $partner->url, auth_url => $partner->url,
	secrets => { api_key => 'ek_live_stranger', secret_key => 'esk_live_stranger' });
$partner->clear;
$partner->answers("POST $auth" => '{"success": false, "error": {"code": "UNAUTHORIZED", "message": "Unknown key ek_live_stranger"}}', status => 401);
is(refusal($node, q{SELECT * FROM cs_balance(server => 'stranger')}),
	printed('PA401', 'could not get an access token for server "stranger": Unknown key <redacted>',
		"Server \"stranger\", POST $auth: HTTP status 401, error code UNAUTHORIZED.",
		'Check the options "api_key" and "secret_key" of the user mapping on server "stranger".'), 'no token, and no secret in the message');

#
# Caught in PL/pgSQL
#
$partner->clear;
$partner->answers("POST $auth" => $token, times => undef);
$partner->answers('POST /api/v1/orders' => '{"success": false, "error": {"code": "INSUFFICIENT_BALANCE", "message": "12.50 short"}}', status => 402);
my (undef, undef, $notice) = $node->psql('postgres', <<"SQL");
DO \$\$
DECLARE
  d text; h text;
BEGIN
  PERFORM cs_create_order('[{"sku": "S1", "quantity": 1}]', '$address', 'poor', server => 'shophub');
EXCEPTION WHEN SQLSTATE 'PA402' THEN
  GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
  RAISE NOTICE '% / % / %', sqlerrm, d, h;
END \$\$
SQL
like($notice, qr{NOTICE:  12\.50 short / Server "shophub", POST /api/v1/orders: HTTP status 402, error code INSUFFICIENT_BALANCE\. / Top up and retry with a different external id\.$}m,
	'WHEN SQLSTATE \'PA402\'');
is($node->safe_psql('postgres', q{SELECT state, error_sqlstate, error_code FROM cs_orders WHERE external_id = 'poor'}),
	'failed|PA402|INSUFFICIENT_BALANCE', 'the journal outlives the block');

#
# Orders that go on after the caller has its error: the partner may be asked again
#
$partner->clear;
$partner->answers("POST $auth" => $token, times => undef);
my %again = (
	'paused1' => [ '/v1/orders', 429, '', $statuses[5][1], '', $statuses[5][2], 1 ],
	'paused2' => [ '/v2/orders', 429, '', $statuses[5][1], '', $statuses[5][2], 2 ],
	'pausedhub' => [ '/api/v1/orders', 429, '{"error": {"code": "RATE_LIMITED"}}', $codes[14][2], ', error code RATE_LIMITED', $codes[14][3], 'hub' ],
	'shophub' => [ '/api/v1/orders', 409, '{"error": {"code": "ORDER_CREATE_IN_PROGRESS"}}', $codes[13][2], ', error code ORDER_CREATE_IN_PROGRESS', $codes[13][3], 'hub' ],
);
for my $server (sort keys %again)
{
	my ($path, $status, $body, $message, $more, $hint, $api) = @{ $again{$server} };

	renew($server);
	my ($statement) = statement('order', $api, $server);

	$partner->clear;
	$partner->answers("POST $auth" => $token, times => undef);
	$partner->answers("POST $path" => $body, status => $status, headers => { 'Retry-After' => '7200' }, times => undef);
	is(refusal($node, $statement), printed("PA$status", $message, qq(Server "$server", $order{$api}[1]: HTTP status $status$more.), $hint), "$server: an order and $status");
	is($node->safe_psql('postgres', "SELECT state, error_sqlstate, next_attempt_at > now() + interval '1 hour' FROM cs_orders WHERE external_id = 'PO-$orders'"),
		"queued|PA$status|t", 'it is tried again, not before Retry-After');
}
$node->stop;
done_testing;
