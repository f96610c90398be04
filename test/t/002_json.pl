#!/usr/bin/perl
#
# What is taken for JSON is what PostgreSQL takes for JSON, less what text cannot
# hold; and values become Datums exactly or not at all.
use strict;
use warnings;
use utf8;
use Encode qw(encode);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $functions = <<'END';
CREATE FUNCTION wire_parse(bytea) RETURNS text LANGUAGE c STRICT AS 'wire_test';
CREATE FUNCTION wire_text(bytea) RETURNS bytea LANGUAGE c STRICT AS 'wire_test';
CREATE FUNCTION wire_server_from_utf8(bytea) RETURNS text LANGUAGE c STRICT AS 'wire_test';
CREATE FUNCTION wire_utf8_from_server(text) RETURNS bytea LANGUAGE c STRICT AS 'wire_test';
CREATE FUNCTION wire_utf8_from_jsonb(jsonb) RETURNS bytea LANGUAGE c STRICT AS 'wire_test';
CREATE FUNCTION wire_jsonb_from_utf8(bytea) RETURNS jsonb LANGUAGE c STRICT AS 'wire_test';
CREATE FUNCTION wire_sha256(bytea) RETURNS text LANGUAGE c STRICT AS 'wire_test';
CREATE FUNCTION wire_hmac_sha256(bytea, bytea, bytea) RETURNS text LANGUAGE c STRICT AS 'wire_test';
CREATE FUNCTION as_text(text, bytea) RETURNS text LANGUAGE c STRICT AS 'wire_test', 'wire_datum';
CREATE FUNCTION as_numeric(text, bytea) RETURNS numeric LANGUAGE c STRICT AS 'wire_test', 'wire_datum';
CREATE FUNCTION as_bigint(text, bytea) RETURNS bigint LANGUAGE c STRICT AS 'wire_test', 'wire_datum';
CREATE FUNCTION as_integer(text, bytea) RETURNS integer LANGUAGE c STRICT AS 'wire_test', 'wire_datum';
CREATE FUNCTION as_boolean(text, bytea) RETURNS boolean LANGUAGE c STRICT AS 'wire_test', 'wire_datum';
CREATE FUNCTION as_timestamptz(text, bytea) RETURNS timestamptz LANGUAGE c STRICT AS 'wire_test', 'wire_datum';
CREATE FUNCTION as_text_array(text, bytea) RETURNS text[] LANGUAGE c STRICT AS 'wire_test', 'wire_datum';
CREATE FUNCTION as_jsonb(text, bytea) RETURNS jsonb LANGUAGE c STRICT AS 'wire_test', 'wire_datum';

CREATE FUNCTION server_takes(document bytea) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM convert_from(document, 'UTF8')::json;
	RETURN true;
EXCEPTION WHEN OTHERS THEN
	RETURN false;
END $$;

-- The value as text, or what is wrong with it.
CREATE FUNCTION outcome(type text, document bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	value text;
BEGIN
	EXECUTE format('SELECT as_%s($1, $2)::text',
		CASE WHEN type IN ('identifier', 'prose', 'stock') THEN 'text' ELSE type END)
		INTO value USING type, document;
	RETURN value;
EXCEPTION WHEN data_exception THEN
	RETURN 'ERROR: ' || sqlerrm;
END $$;
END

my $node = PostgreSQL::Test::Cluster->new('json');
$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf', "timezone = 'America/New_York'\ndatestyle = 'SQL, DMY'\n");
$node->start;
$node->safe_psql('postgres', $functions);

# A bytea literal of the text's UTF-8, or of the bytes given by reference.
sub bytes
{
	my $text = shift;

	return "'\\x" . unpack('H*', ref $text ? $$text : encode('UTF-8', $text)) . "'::bytea";
}

# A SQL expression's value, in bytes.
sub value
{
	my ($expression, $database) = @_;

	return $node->safe_psql($database // 'postgres', "SELECT $expression");
}

sub shown
{
	my $text = shift;

	$text = length $text > 40 ? substr($text, 0, 37) . '...' : $text;
	return $text =~ s/([^ -~]|#)/sprintf '<%02x>', ord $1/ger;
}

# One question for a whole list: an answer each.
sub values_of
{
	my ($template, @documents) = @_;
	my @columns = map { my $bytes = bytes($_); "coalesce(($template)::text, '')" =~ s/\?/$bytes/gr } @documents;

	return split /\n/, value('unnest(ARRAY[' . join(', ', @columns) . '])'), -1;
}

my @valid = (
	'{}', '[]', 'null', 'true', 'false', '0', '-0', '12', '-1.5e-3', '1E+2', '1e5', '0.1', '1e400',
	'"x"', '""', '[1,2,3]', '{"a":{"b":[null]}}', ' [ 1 , 2 ] ', "\t\n\r{ \"a\" : 1 }\n", '"\u00e9"',
	'"\ud83d\ude00"', '"\/\b\f\n\r\t\"\\\\"', '"é漢😀"', '{"a":1,"a":2}', '{"":0}', '[[],{}]',
	'-9223372036854775808', '9223372036854775807', '18446744073709551615', '[0.0,-0.0]', "\"\x7f\"",
	'[' x 32 . ']' x 32, '[' x 32 . '1' . ']' x 32, '{"a":' x 32 . '1' . '}' x 32,
	'12345678901234567890.5', '"12345678"', '"1234567é"', '{"a":"\\\\"}', 'null ');
my @invalid = (
	'', ' ', '{', '[', '"a', '{"a"', '{"a":', '{"a":1', '[1', '[1,', '[1,]', '{"a":1,}', '{,}', '[,1]', '{a:1}',
	"{'a':1}", "'a'", 'nul', 'nulll', 'True', 'TRUE', 'NaN', 'Infinity', '-Infinity', '-', '+1', '01', '-01',
	'1.', '.5', '1e', '1e+', '0x10', '1 2', '[1 2]', '{"a" 1}', '{"a":1 "b":2}', '{1:2}', '{null:1}', '[1}',
	'{]', ']', '}', '[]]', '{}{}', '{} x', '"\x41"', '"\u12"', '"\u12G4"', "\"a\tb\"", "\"a\nb\"", "\x0b1",
	"\x0c1", '/* c */1', '1/**/', '[1,,2]', '{"a":1,,"b":2}', '{"a":}', '{:1}', '[true false]', 'truefalse',
	'1true', '""""', '[""1]', '1-2', '[1-2]', '1.2.3', '1e2e3', '--1', '{"a":1}]', '"\\', '"\u', '{"a":\u0031}',
	'0e', '00', '[-]', 'undefined', '1_000', "\x{a0}1", "\x{feff}{}", '{"a":[}', '{"a"::1}', '[:]', '{"a",1}',
	'["a":1]', ':', ',', '1,2', '{"a":1:2}');

for my $set ([ 'true', '', @valid ], [ 'false', 'not ', @invalid ])
{
	my ($verdict, $not, @documents) = @$set;
	my @server = values_of('server_takes(?)', @documents);
	my @ours = values_of('(wire_parse(?) IS NULL)', @documents);

	is("$server[$_] $ours[$_]", "$verdict $verdict", "${not}taken, as by the server: " . shown($documents[$_]))
	  for 0 .. $#documents;
}

# Taken by the server, and refused here, with the reason and the place.
my @stricter = (
	[ '"a\u0000"', '\u0000 in a string, which cannot be stored as text at byte 3' ],
	[ '{"price\u0000x":1}', '\u0000 in a string, which cannot be stored as text at byte 8' ],
	[ '"\ud800"', 'lone surrogate in a string at byte 2' ],
	[ '"\udc00"', 'lone surrogate in a string at byte 2' ],
	[ '"\ud800\u0041"', 'lone surrogate in a string at byte 2' ],
	[ '[' x 33 . ']' x 33, 'nesting is too deep at byte 33' ],
	[ '[' x 1_000 . ']' x 1_000, 'nesting is too deep at byte 33' ],
	[ '99999999999999999999999', 'integer out of range at byte 1' ],
	[ '[1, 18446744073709551616]', 'integer out of range at byte 5' ],
	[ '{"q":-9223372036854775809}', 'integer out of range at byte 6' ]);
my @server = values_of('server_takes(?)', map { $_->[0] } @stricter);
my @ours = values_of('wire_parse(?)', map { $_->[0] } @stricter);
is("$server[$_] $ours[$_]", "true $stricter[$_][1]", 'refused with a reason: ' . shown($stricter[$_][0]))
  for 0 .. $#stricter;

for my $case (
	[ "\"\xff\"", 'invalid UTF-8 at byte 2' ],
	[ "\"\xc3(\"", 'invalid UTF-8 at byte 2' ],
	[ "\"1234567\xc3\"", 'invalid UTF-8 at byte 9' ],
	[ "\"\xed\xa0\x80\"", 'invalid UTF-8 at byte 2' ],
	[ "\"\xc0\xaf\"", 'invalid UTF-8 at byte 2' ],
	[ "\"\xf4\x90\x80\x80\"", 'invalid UTF-8 at byte 2' ],
	[ "\"\xe2\x82", 'invalid UTF-8 at byte 2' ],
	[ "\"a\0b\"", 'control character in a string at byte 3' ],
	[ "[1]\0", 'unexpected character at byte 4' ],
	[ '[' x 10_000, 'nesting is too deep at byte 33' ],
	[ '[1', 'unexpected end at byte 3' ],
	[ '   ', 'document is empty at byte 4' ])
{
	my ($bytes, $problem) = @$case;

	is(value('wire_parse(' . bytes(\$bytes) . ')'), $problem, 'refused with a reason: ' . shown($bytes));
}

# Numbers, to the last digit and the scale.
my @numbers = (
	'0.1', '0.14', '12345678901234.56', '12.50', '-0.0', '0.00', '0', '9223372036854775807',
	'18446744073709551615', '1e5', '1E+2', '1.50e1', '999999999999999999', '9999999999999999999.9',
	'12345678901234567890123.45', '0.' . '0' x 40 . '1', '1e-300', '-12345.678e-3', '100.0e-2');
my @exact = values_of('numeric_send(as_numeric(\'numeric\', ?)) = numeric_send(convert_from(?, \'UTF8\')::numeric)',
	@numbers);
is($exact[$_], 'true', "exactly as the server reads it: $numbers[$_]") for 0 .. $#numbers;

my @outcomes = (
	[ 'numeric', '12.50', '12.50' ],
	[ 'numeric', '"12.50"', '12.50' ],
	[ 'numeric', '"-1e-7"', '-0.0000001' ],
	[ 'numeric', '"12345678901234567890.12"', '12345678901234567890.12' ],
	[ 'numeric', '"99999999999999999999"', 'ERROR: expected a number, got a string' ],
	[ 'numeric', '"12,50"', 'ERROR: expected a number, got a string' ],
	[ 'numeric', '""', 'ERROR: expected a number, got a string' ],
	[ 'numeric', '"null"', 'ERROR: expected a number, got a string' ],
	[ 'numeric', '{}', 'ERROR: expected a number, got an object' ],
	[ 'numeric', '1e-7', '0.0000001' ],
	[ 'numeric', '1e100000', 'ERROR: number 1e100000 is out of range' ],
	[ 'numeric', '1e-99999999999999999999', 'ERROR: number 1e-99999999999999999999 is out of range' ],
	[ 'numeric', '0.' . '1' x 2000, 'ERROR: number 0.' . '1' x 38 . '... is out of range' ],
	[ 'numeric', 'true', 'ERROR: expected a number, got a boolean' ],
	[ 'bigint', '9223372036854775807', '9223372036854775807' ],
	[ 'bigint', '-9223372036854775808', '-9223372036854775808' ],
	[ 'bigint', '9223372036854775808', 'ERROR: number 9223372036854775808 is out of range' ],
	[ 'bigint', '3.0', '3' ],
	[ 'bigint', '1.2e3', '1200' ],
	[ 'bigint', '1e19', 'ERROR: number 1e19 is not an integer that fits' ],
	[ 'bigint', '2.5', 'ERROR: number 2.5 is not an integer that fits' ],
	[ 'bigint', '0.0', '0' ],
	[ 'bigint', '[]', 'ERROR: expected an integer, got an array' ],
	[ 'bigint', '"12"', '12' ],
	[ 'bigint', '"12 "', '12' ],
	[ 'bigint', '"12.5"', 'ERROR: number 12.5 is not an integer that fits' ],
	[ 'bigint', '"a dozen"', 'ERROR: expected an integer, got a string' ],
	[ 'integer', '2147483647', '2147483647' ],
	[ 'integer', '2147483648', 'ERROR: number 2147483648 is out of range' ],
	[ 'integer', '-2147483649', 'ERROR: number -2147483649 is out of range' ],
	[ 'boolean', 'true', 'true' ],
	[ 'boolean', '1', 'true' ],
	[ 'boolean', '"false"', 'false' ],
	[ 'boolean', '2', 'ERROR: expected a boolean, got a number' ],
	[ 'boolean', '"yes"', 'ERROR: expected a boolean, got a string' ],
	[ 'text', '"é / \u00e9 \ud83d\ude00"', 'é / é 😀' ],
	[ 'text', '""', '' ],
	[ 'text', '12', 'ERROR: expected a string, got a number' ],
	[ 'identifier', '12', '12' ],
	[ 'identifier', '18446744073709551615', '18446744073709551615' ],
	[ 'identifier', '"a-1"', 'a-1' ],
	[ 'identifier', '1.5', 'ERROR: expected a string or an integer, got a number' ],
	[ 'stock', 'true', 'in_stock' ],
	[ 'stock', 'false', 'out_of_stock' ],
	[ 'stock', '250', '250' ],
	[ 'stock', '"low"', 'low' ],
	[ 'stock', '{}', 'ERROR: expected a string, an integer or a boolean, got an object' ],
	[ 'prose', '"soft"', 'soft' ],
	[ 'prose', '{ "oz": 12.50, "u": "a/b" }', '{"oz":12.50,"u":"a/b"}' ],
	[ 'prose', '[1, null, "é"]', '[1,null,"é"]' ],
	[ 'text_array', '["a", "b c", null, ""]', '{a,"b c",NULL,""}' ],
	[ 'text_array', '[]', '{}' ],
	[ 'text_array', '"a"', 'ERROR: expected an array of strings, got a string' ],
	[ 'text_array', '["a", 1]', 'ERROR: element 2: expected a string, got a number' ],
	[ 'jsonb', '{"b":[1.50,{"c":null}],"a":"\u00e9","b":true}', '{"a": "é", "b": true}' ],
	[ 'jsonb', '[[], {}, "x", -0.10, 1e2, false]', '[[], {}, "x", -0.10, 100, false]' ],
	[ 'jsonb', '"x"', '"x"' ],
	[ 'jsonb', '[1e999999]', 'ERROR: number 1e999999 is out of range' ],
	[ 'timestamptz', '5', 'ERROR: expected a date and time, got a number' ]);
my %types;
push @{ $types{ $_->[0] } }, $_ for @outcomes;
for my $type (sort keys %types)
{
	my @cases = @{ $types{$type} };
	my @got = values_of("outcome('$type', ?)", map { $_->[1] } @cases);

	is($got[$_], encode('UTF-8', $cases[$_][2]), "$type from " . shown($cases[$_][1])) for 0 .. $#cases;
}

# Times, though DateStyle and TimeZone of this cluster are unhelpful.
my @times = (
	[ '2025-04-15', '2025-04-15 00:00:00' ],
	[ '2025-04-15T10:00', '2025-04-15 10:00:00' ],
	[ '2025-04-15 10:00:01', '2025-04-15 10:00:01' ],
	[ '2026-05-18T10:00:05Z', '2026-05-18 10:00:05' ],
	[ '2026-05-19T19:00:00+00:00', '2026-05-19 19:00:00' ],
	[ '2025-04-15T10:00:00.1234567Z', '2025-04-15 10:00:00.123457' ],
	[ '2025-12-31T23:59:59.9999999', '2026-01-01 00:00:00' ],
	[ '2024-02-29T12:00:00+05:30', '2024-02-29 06:30:00' ],
	[ '2024-02-29T12:00:00-0800', '2024-02-29 20:00:00' ],
	[ '2024-02-29T12:00:00+02', '2024-02-29 10:00:00' ],
	[ '2025-04-15T23:59:60Z', '2025-04-16 00:00:00' ],
	[ '0001-01-01T00:00:00Z', '0001-01-01 00:00:00' ],
	[ '9999-12-31T23:59:59.999999Z', '9999-12-31 23:59:59.999999' ],
	(map { [ $_, '' ] } '2025-02-29', '1900-02-29', '2025-04-31', '2025-13-01', '2025-04-15T24:00:00', '2025-04-15T10',
		'2025-04-15T10:00:', '2025-04-15T10:00:00.', '2025-04-15T10:60', '0000-01-01', '10000-01-01', 'infinity', 'now',
		'', '2025-4-5', '2025-04-15Z', '2025-04-15T10:00:00+5', '2025-04-15T10:00:00 +05', '2025-04-15T10:00:00+05:',
		'2025-04-15T10:00:00+16', '20250415T100000Z', '2025-04-15T10:00Zx', '15/04/2025', '2025-04-15T10:00:00,5'));
my @got = values_of(
	"CASE WHEN outcome('timestamptz', ?) = 'ERROR: expected a date and time in ISO 8601' THEN ''
	  ELSE replace(to_char(as_timestamptz('timestamptz', ?) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), '.000000', '')
	  END", map {"\"$_->[0]\""} @times);
is($got[$_], $times[$_][1], $times[$_][1] eq '' ? "no time: \"$times[$_][0]\"" : "time $times[$_][0]") for 0 .. $#times;

is(value('wire_text(' . bytes('{ "a" : 1.50, "b" : [ "x/y", "\u00e9\u0007" ] }') . ') = '
		. bytes('{"a":1.50,"b":["x/y","é\u0007"]}')), 't', 'written again: compact, numbers and slashes as they were');
is(value("wire_utf8_from_jsonb('{\"a\": \"é\"}') = " . bytes('{"a": "é"}')), 't', 'jsonb to UTF-8');
is(value('wire_jsonb_from_utf8(' . bytes('{"a":"é"}') . ')'), encode('UTF-8', '{"a": "é"}'), 'UTF-8 to jsonb');

# A database that cannot hold every character.
$node->safe_psql('postgres', "CREATE DATABASE $_ TEMPLATE template0 ENCODING '$_'") for qw(latin1 sql_ascii);
$node->safe_psql($_, "SET client_encoding = 'UTF8'; $functions") for qw(latin1 sql_ascii);
my $long = 'é' x 20_000;
is(value("encode(as_text('text', " . bytes('"café"') . ")::bytea, 'hex')", 'latin1'), '636166e9', 'LATIN1 text');
is(value("length(as_text('text', " . bytes("\"a$long\"") . '))', 'latin1'), '20001', 'LATIN1 text of many pieces');
is(value("outcome('text', " . bytes('"5 €"') . ')', 'latin1'),
	'ERROR: character U+20AC has no equivalent in encoding "LATIN1"', 'LATIN1 has no euro');
is(value("outcome('jsonb', " . bytes('{"€":1}') . ')', 'latin1'),
	'ERROR: character U+20AC has no equivalent in encoding "LATIN1"', 'nor in a key of jsonb');
is(value("encode((as_jsonb('jsonb', " . bytes('{"a":"é"}') . ")->>'a')::bytea, 'hex')", 'latin1'), 'e9', 'LATIN1 jsonb');
is(value("outcome('text_array', " . bytes('["a", "漢"]') . ')', 'latin1'),
	'ERROR: element 2: character U+6F22 has no equivalent in encoding "LATIN1"', 'nor in an array');
is(value('encode(wire_server_from_utf8(' . bytes('5 € für 漢字') . ")::bytea, 'hex')", 'latin1'),
	unpack('H*', "5 ? f\xfcr ??"), 'what it lacks becomes a question mark in messages');
is(value("encode(wire_utf8_from_server(convert_from('\\x636166e9', 'LATIN1')), 'hex')", 'latin1'),
	'636166c3a9', 'LATIN1 to UTF-8');
is(value("encode(wire_utf8_from_jsonb(as_jsonb('jsonb', " . bytes('{"a":"é"}') . ")), 'hex')", 'latin1'),
	unpack('H*', encode('UTF-8', '{"a": "é"}')), 'LATIN1 jsonb to UTF-8');
is(value("encode((wire_jsonb_from_utf8(" . bytes('{"a":"é €"}') . ")->>'a')::bytea, 'hex')", 'latin1'), unpack('H*', "\xe9 ?"),
	'what is kept as it came loses the character that LATIN1 lacks, not all of it');
is(value("as_text('text', " . bytes('"cafe"') . ')', 'sql_ascii'), 'cafe', 'SQL_ASCII takes ASCII');
is(value("outcome('text', " . bytes('"café"') . ')', 'sql_ascii'),
	'ERROR: character U+00E9 has no equivalent in encoding "SQL_ASCII"', 'and nothing else');
is(value('wire_server_from_utf8(' . bytes('café €') . ')', 'sql_ascii'), 'caf? ?', 'SQL_ASCII in messages');

# FIPS 180-4 and RFC 4231, test cases 2 and 6.
is(value('wire_sha256(' . bytes('abc') . ')'),
	'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad', 'SHA-256');
for my $case (
	[ 'Jefe', 'what do ya want for nothing?', '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843' ],
	[ "\xaa" x 131, 'Test Using Larger Than Block-Size Key - Hash Key First',
		'60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54' ])
{
	my ($key, $data, $mac) = @$case;
	my $expected = pack 'H*', $mac;
	my $other = $expected ^ ("\0" x 31 . "\1");
	my $call = 'wire_hmac_sha256(' . bytes(\$key) . ', ' . bytes($data) . ', ';

	is(value($call . bytes(\$expected) . ')'), "$mac equal", 'HMAC-SHA256');
	is(value($call . bytes(\$other) . ')'), "$mac different", 'one other bit is another signature');
}

$node->stop;
done_testing;
