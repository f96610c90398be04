# CustomHub Partner API v1: every example of its document goes through the
# extension. Where the document abbreviates with "...", the value is completed;
# nothing else is changed.
use strict;
use warnings;

use CupsourceReplay;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $partner = CupsourceReplay->start;
my $identity = CupsourceReplay->start;
my $node = cupsource_node('hub', conf => 'cupsource.max_retries = 0');

create_account($node, 'hub', api => 'customhub-v1', base_url => $partner->url, auth_url => $identity->url,
	poll_interval => '1h', secrets => { api_key => 'ek_live_...', secret_key => 'esk_live_...' });

my $id = '9b4f7e2a-0000-4000-8000-000000000001';
my $authorization = 'Bearer eyJhbGc...';

# The requests so far, each with the token; their targets.
sub authorized
{
	my @requests = $partner->arrived;
	my @without = grep { ($_->{headers}{authorization} // '') ne $authorization } @requests;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(scalar @without, 0, 'each request has the token');
	return [ map {"$_->{method} $_->{target}"} @requests ];
}

#
# "Exchange credentials for a JWT", "List models"
#
$identity->answers('POST /api/PartnerAuthentication/auth' => <<'END');
{
  "accessToken": "eyJhbGc...",
  "refreshToken": "...",
  "expired": "2099-05-19T19:00:00+00:00"
}
END
my $models = <<"END";
{
  "success": true,
  "data": {
    "models": [
      {
        "id":              "$id",
        "code":            "BC3001",
        "name":            "Bella Canvas 3001 Unisex Shirt",
        "brand":           "Bella+Canvas",
        "primaryImageUrl": "https://cdn.../bc3001-front.jpg",
        "listPrice":       0,
        "price":           0,
        "pricing": {
          "currency":             "USD",
          "fromUnitPrice":        6.49,
          "fromListPrice":        6.49,
          "fromBlankCost":        3.99,
          "pricedVariationCount": 188
        },
        "variationCount":  188,
        "isFeatured":      false
      }
    ],
    "pagination": {
      "page": 1, "pageSize": 50, "totalCount": 27, "hasMore": false
    }
  }
}
END
$partner->answers('GET /api/v1/models?page=1&pageSize=50&search=bella' => $models, times => 2);
my $listed = <<"END";
server: hub
model_id: $id
code: BC3001
name: Bella Canvas 3001 Unisex Shirt
brand: Bella+Canvas
primary_image_url: https://cdn.../bc3001-front.jpg
default_list_price: 0
default_price: 0
currency: USD
from_unit_price: 6.49
from_list_price: 6.49
from_blank_cost: 3.99
priced_variation_count: 188
variation_count: 188
is_featured: false
END
is(fields($node, q{SELECT * FROM cs_models(search => 'bella', max_rows => 50)}), $listed, 'List models: each field in its column');
is(fields($node, q{SELECT * FROM cs_products(search => 'bella', max_rows => 50)}), <<"END", 'and as products');
server: hub
product_id: $id
code: BC3001
name: Bella Canvas 3001 Unisex Shirt
brand: Bella+Canvas
unit_price: 6.49
list_price: 6.49
blank_cost: 3.99
currency: USD
variation_count: 188
priced_variation_count: 188
is_featured: false
image_url: https://cdn.../bc3001-front.jpg
raw: {"id": "$id", "code": "BC3001", "name": "Bella Canvas 3001 Unisex Shirt", "brand": "Bella+Canvas", "price": 0, "pricing": {"currency": "USD", "fromBlankCost": 3.99, "fromListPrice": 6.49, "fromUnitPrice": 6.49, "pricedVariationCount": 188}, "listPrice": 0, "isFeatured": false, "variationCount": 188, "primaryImageUrl": "https://cdn.../bc3001-front.jpg"}
END
my @exchange = $identity->arrived;
is_deeply([ map {"$_->{method} $_->{target}"} @exchange ], ['POST /api/PartnerAuthentication/auth'],
	'one token exchange, at the identity host');
is(canonical($exchange[0]{body}), canonical('{"apiKey":"ek_live_...","secretKey":"esk_live_..."}'), 'with the documented body');
is($exchange[0]{headers}{'content-type'}, 'application/json', 'as JSON');
is_deeply(authorized(), [ ('GET /api/v1/models?search=bella&pageSize=50&page=1') x 2 ], 'and the documented query');

$partner->answers('GET /api/v1/models?page=1&pageSize=5' => $models);
$node->safe_psql('postgres', 'SELECT * FROM cs_models(max_rows => 5)');
is_deeply(authorized(), ['GET /api/v1/models?pageSize=5&page=1'], '"2. List the catalog" of the overview');

# Pages follow hasMore, and are the largest that the document allows.
$partner->answers("GET /api/v1/models?pageSize=100&page=$_" => sprintf(
		'{"success": true, "data": {"models": [{"id": "m%d", "pricing": null}], "pagination": {"page": %d, "pageSize": 100, "totalCount": 3, "hasMore": %s}}}',
		$_, $_, $_ < 3 ? 'true' : 'false')) for 1 .. 3;
is(fields($node, 'SELECT model_id, currency, from_unit_price, raw FROM cs_models()'), join("\n", map {"model_id: m$_\n"} 1 .. 3),
	'pricing is null when nothing is priced for the account');
is_deeply(authorized(), [ map {"GET /api/v1/models?pageSize=100&page=$_"} 1 .. 3 ], 'page by page');

#
# "Get a model"
#
my $variation = '1c2d3e4f-0000-4000-8000-000000000002';
my $category = '{ "id": "7d0c...", "name": "T-Shirts" }';
my $model = <<"END";
{
  "success": true,
  "data": {
    "id":         "$id",
    "code":      "BC3001",
    "name":      "Bella Canvas 3001 Unisex Shirt",
    "brand":     "Bella+Canvas",
    "material":  "100% Airlume combed and ring-spun cotton, 32 single 4.2 oz.",
    "fitType":   "Unisex retail fit",
    "images":    [ "https://cdn.../bc3001-1.jpg" ],
    "categories":[ $category ],
    "variations": [
      {
        "id":                    "$variation",
        "sku":                   "BC-3001-L-BLACK",
        "isActive":              true,
        "variationDescription":  "BELLA CANVAS Unisex T-shirt L",
        "variation2Description": "Black",
        "variation2Hex":         "#000000",
        "images":                [ "https://cdn.../bc3001-black-front.jpg" ],
        "pricing": {
          "currency":    "USD",
          "unitPrice":   8.18,
          "listPrice":   8.18,
          "blankCost":   5.68,
          "handlingFee": 0.0
        }
      }
    ],
    "placements": [
      {
        "code": "width1", "label": "Placement 1",
        "maxWidthInches": 12, "maxHeightInches": 12,
        "printMethods": [
          { "code": "DTF", "label": "DTF - Direct to Film", "price": 2.50, "priceSource": "dealer" },
          { "code": "DTG", "label": "Direct to Garment",    "price": 2.50, "priceSource": "dealer_location_fallback" }
        ]
      },
      {
        "code": "width2", "label": "Placement 2",
        "maxWidthInches": 4, "maxHeightInches": 4,
        "printMethods": [
          { "code": "DTF", "label": "DTF - Direct to Film", "price": 2.50, "priceSource": "dealer" }
        ]
      }
    ]
  }
}
END
my %detail = (
	cs_model => <<"END",
server: hub
model_id: $id
code: BC3001
name: Bella Canvas 3001 Unisex Shirt
brand: Bella+Canvas
material: 100% Airlume combed and ring-spun cotton, 32 single 4.2 oz.
fit_type: Unisex retail fit
categories: [{"id": "7d0c...", "name": "T-Shirts"}]
images: ["https://cdn.../bc3001-1.jpg"]
END
	cs_variations => <<"END",
server: hub
variation_id: $variation
product_id: $id
sku: BC-3001-L-BLACK
variation_description: BELLA CANVAS Unisex T-shirt L
variation2_description: Black
variation2_hex: #000000
is_active: true
images: ["https://cdn.../bc3001-black-front.jpg"]
unit_price: 8.18
list_price: 8.18
blank_cost: 5.68
handling_fee: 0.0
currency: USD
END
	cs_placements => <<"END",
server: hub
product_id: $id
placement: width1
label: Placement 1
max_width_inches: 12
max_height_inches: 12

server: hub
product_id: $id
placement: width2
label: Placement 2
max_width_inches: 4
max_height_inches: 4
END
	cs_print_methods => <<"END",
server: hub
product_id: $id
placement: width1
print_method: DTF
label: DTF - Direct to Film
price: 2.50
price_source: dealer

server: hub
product_id: $id
placement: width1
print_method: DTG
label: Direct to Garment
price: 2.50
price_source: dealer_location_fallback

server: hub
product_id: $id
placement: width2
print_method: DTF
label: DTF - Direct to Film
price: 2.50
price_source: dealer
END
);
$partner->answers("GET /api/v1/models/$id" => $model, times => 5);
is(fields($node, "SELECT * FROM $_('$id')"), $detail{$_}, "Get a model: $_") for sort keys %detail;
is(fields($node, "SELECT product_id, unit_price, list_price, blank_cost, currency, variation_count, priced_variation_count,
		images, categories, material, fit_type FROM cs_product('$id')"),
	<<"END", 'as a product: the lowest prices of its variations, all images and categories, and its copy');
product_id: $id
unit_price: 8.18
list_price: 8.18
blank_cost: 5.68
currency: USD
variation_count: 1
priced_variation_count: 1
images: ["https://cdn.../bc3001-1.jpg"]
categories: [{"id": "7d0c...", "name": "T-Shirts"}]
material: 100% Airlume combed and ring-spun cotton, 32 single 4.2 oz.
fit_type: Unisex retail fit
END
is_deeply(authorized(), [ ("GET /api/v1/models/$id") x 5 ], 'each by the documented request');

# Product copy that the document names without showing it, and a field that it does not name.
$partner->answers('GET /api/v1/models/m%201' => <<'END');
{"success": true, "data": {"id": "m 1", "description": "Soft.", "care": ["Cold wash", "No bleach"], "sizing": {"fit": "true"}, "isFeatured": true,
 "primaryImageUrl": "u", "listPrice": 1e-7, "price": 12345678901234.56, "weight": 0.10}}
END
is(fields($node, q{SELECT * FROM cs_model('m 1')}), <<'END', 'care, sizing and what is not documented');
server: hub
model_id: m 1
description: Soft.
care: ["Cold wash","No bleach"]
sizing: {"fit":"true"}
primary_image_url: u
default_list_price: 0.0000001
default_price: 12345678901234.56
is_featured: true
raw: {"id": "m 1", "care": ["Cold wash", "No bleach"], "price": 12345678901234.56, "sizing": {"fit": "true"}, "weight": 0.10, "listPrice": 0.0000001, "isFeatured": true, "description": "Soft.", "primaryImageUrl": "u"}
END

#
# "Wallet balance"
#
my $balance = <<'END';
server: hub
dealer_id: 5b3b...
currency: USD
balance: 1240.50
credit_limit: 2500.00
headroom: 1259.50
END
$partner->clear;
$partner->answers('GET /api/v1/balance' => <<'END', times => 2);
{
  "success": true,
  "data": {
    "dealerId":    "5b3b...",
    "currency":    "USD",
    "balance":      1240.50,
    "creditLimit":  2500.00,
    "headroom":     1259.50
  }
}
END
is(fields($node, 'SELECT * FROM cs_balance()'), $balance, 'Wallet balance');
is_deeply(authorized(), ['GET /api/v1/balance'], 'by the documented request');

#
# The same catalogue, cached
#
$partner->answers('GET /api/v1/models?pageSize=100&page=1' => $models =~ s/"totalCount": 27/"totalCount": 1/r);
$partner->answers("GET /api/v1/models/$id" => $model);
$node->safe_psql('postgres', "CALL cs_refresh_catalog('hub')");
is_deeply([ sort @{ authorized() } ], [ 'GET /api/v1/balance', "GET /api/v1/models/$id", 'GET /api/v1/models?pageSize=100&page=1' ],
	'a refresh reads the list, the detail and the wallet');
is(fields($node, "SELECT * FROM $_ ORDER BY placement" . ($_ eq 'cs_placements' ? '' : ', print_method')), $detail{$_}, "cached: $_")
  for qw(cs_placements cs_print_methods);
is(fields($node, 'SELECT * FROM cs_variations'), $detail{cs_variations}, 'cached: cs_variations');
is(fields($node, 'SELECT * FROM cs_balance'), $balance, 'cached: cs_balance');
my $copy = join '', $detail{cs_model} =~ /^(?:material|fit_type|categories|images): .*\n/mg;
is(fields($node, 'SELECT * FROM cs_models'), $listed =~ s/(?=primary_image_url)/$copy/r,
	'cached: cs_models, list and detail together');

# Many serializers write decimals as strings, and some a truth as a number.
my $written = sub { return $_[0] =~ s/: *(\d+\.\d+)\b/: "$1"/gr =~ s/: *(true|false)\b/': ' . ($1 eq 'true' || 0)/gre };
$partner->clear;
$partner->answers('GET /api/v1/models?pageSize=100&page=1' => $written->($models) =~ s/"totalCount": 27/"totalCount": 1/r);
$partner->answers("GET /api/v1/models/$id" => $written->($model), times => 2);
$partner->answers('GET /api/v1/balance' => qq({"success": true, "data": {"dealerId": "5b3b...", "currency": "USD", "balance": "1240.50", "creditLimit": "2500.00", "headroom": "1259.50"}}));
$node->safe_psql('postgres', q{CALL cs_refresh_catalog('hub', "full" => true)});
is(fields($node, 'SELECT * FROM cs_print_methods ORDER BY placement, print_method'), $detail{cs_print_methods}, 'a price as a string is that price');
is(fields($node, 'SELECT * FROM cs_variations'), $detail{cs_variations}, 'also of a variation');
is(fields($node, 'SELECT * FROM cs_balance'), $balance, 'and a balance');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cs_price_history'), 1, 'so nothing has changed');

# "Computing your cost": blank 5.68 + one front DTF print 2.50 = 8.18
is($node->safe_psql('postgres', q{SELECT cs_item_cost('BC-3001-L-BLACK', '{width1}', 'DTF'), unit_price FROM cs_variations}), '8.18|8.18',
	'the example of "Computing your cost"');
is($node->safe_psql('postgres', q{SELECT cs_item_cost('BC-3001-L-BLACK', '{width1,width2}', 'DTF')}), '10.68', 'two placements');

$node->stop;
done_testing;
