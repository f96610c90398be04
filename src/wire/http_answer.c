/*
 * http_answer.c
 *	  What came of a request: the answer, or which of the closed set of
 *	  failures, and whether the partner can have seen the request.
 *
 * A request is "not sent" only if libcurl began to send it on none of the
 * connections that it tried, whatever its error says: after a dead kept
 * connection, for instance, its error can be that of the second connection.
 */
#include "postgres.h"

#include <ctype.h>
#include <limits.h>
#include <time.h>

#include "datatype/timestamp.h"
#include "pgtime.h"
#include "utils/datetime.h"

#include "src/wire/http_private.h"

#define MAX_LIBCURL_TEXT 400

/* OpenSSL's X509_V_ERR_* for a chain that ends in no authority known here. */
#define X509_SELF_SIGNED 18
#define X509_SELF_SIGNED_IN_CHAIN 19
#define X509_NO_LOCAL_ISSUER 20
#define X509_NO_LEAF_ISSUER 21

/* And for one whose time has not come, or is over. */
#define X509_NOT_YET_VALID 9
#define X509_HAS_EXPIRED 10

/* libcurl's clocks of one transfer, in microseconds since its start; 0: not reached. */
typedef struct Phases
{
	curl_off_t	lookup;
	curl_off_t	connect;
	curl_off_t	tls;
	curl_off_t	sent;			/* or about to be */
	curl_off_t	first_byte;
	curl_off_t	total;
} Phases;

static curl_off_t
info_number(CURL *easy, CURLINFO info)
{
	curl_off_t	value = 0;

	curl_easy_getinfo(easy, info, &value);
	return value;
}

static long
info_long(CURL *easy, CURLINFO info)
{
	long		value = 0;

	curl_easy_getinfo(easy, info, &value);
	return value;
}

static int
http_version(CURL *easy)
{
	switch (info_long(easy, CURLINFO_HTTP_VERSION))
	{
		case CURL_HTTP_VERSION_1_0:
			return 10;
		case CURL_HTTP_VERSION_1_1:
			return 11;
		case CURL_HTTP_VERSION_2_0:
			return 20;
		case CURL_HTTP_VERSION_3:
			return 30;
		default:
			return 0;
	}
}

/* 'count' digits as a number, or -1. */
static int
digits(const char *text, int count)
{
	int			value = 0;

	for (int i = 0; i < count; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

/* Has the text the layout's characters, wherever that has another than '_'? */
static bool
is_laid_out(const char *text, const char *layout)
{
	for (; *layout; text++, layout++)
	{
		if (*text == '\0' || (*layout != '_' && *text != *layout))
			return false;
	}
	return *text == '\0';
}

/*
 * An HTTP-date in seconds since 1970, or -1.  The form that servers send,
 * "Sun, 06 Nov 1994 08:49:37 GMT", is read here, since every answer has one
 * and curl_getdate is slow; the obsolete forms are left to that.
 */
static int64
http_date(const char *value)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const char *month = NULL;
	int			day,
				year,
				hour,
				minute,
				second;
	time_t		time;

	if (is_laid_out(value, "___, __ ___ ____ __:__:__ GMT"))
	{
		day = digits(value + 5, 2);
		for (int i = 0; i < 12 && month == NULL; i++)
		{
			if (memcmp(value + 8, months + 3 * i, 3) == 0)
				month = months + 3 * i;
		}
		year = digits(value + 12, 4);
		hour = digits(value + 17, 2);
		minute = digits(value + 20, 2);
		second = digits(value + 23, 2);
		if (month != NULL && day >= 1 && day <= 31 && year >= 1970 &&
			hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59 && second >= 0 && second <= 60)
			return (int64) (date2j(year, (int) (month - months) / 3 + 1, day) - UNIX_EPOCH_JDATE) *
				SECS_PER_DAY + hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE + second;
	}

	/* curl_getdate also takes bare numbers for dates. */
	if (!isalpha((unsigned char) *value))
		return -1;
	time = curl_getdate(value, NULL);
	return time < 0 ? -1 : (int64) time;
}

/*
 * Retry-After in milliseconds, or -1.  A date is compared with the partner's
 * own clock where it told the time, so that a wrong clock here does no harm.
 * A fraction of a second, which some frameworks write, is waited out as a whole.
 */
static int
retry_after_ms(const char *value, int64 server_time)
{
	int64		seconds = 0;
	size_t		length = strspn(value, "0123456789");
	size_t		fraction = value[length] == '.' ? strspn(value + length + 1, "0123456789") : 0;

	if (length > 0 && value[length + (fraction > 0 ? 1 + fraction : 0)] == '\0')
	{
		for (size_t i = 0; i < length && seconds < INT_MAX; i++)
			seconds = seconds * 10 + (value[i] - '0');
		if (strspn(value + length, ".0") < strlen(value + length))
			seconds++;
	}
	else
	{
		seconds = http_date(value);
		if (seconds < 0)
			return -1;
		seconds -= server_time >= 0 ? server_time : (int64) time(NULL);
		seconds = Max(seconds, 0);
	}
	return (int) (Min(seconds, INT_MAX / 1000) * 1000);
}

/* In libcurl from 8.6 on, and only of headers in what we do. */
#define RESULT_TOO_LARGE 100

/*
 * For a line that is too long, older versions of libcurl say that they are out
 * of memory; while headers arrive, that is far likelier than a lack of memory.
 */
static bool
headers_too_large(const CsHttpRequest *request)
{
	const CsTransfer *transfer = request->transfer;

	return transfer->headers_too_large || (int) request->result == RESULT_TOO_LARGE ||
		(request->result == CURLE_OUT_OF_MEMORY && transfer->header_bytes > 0 &&
		 !transfer->headers_complete);
}

static CsFailureKind
kind_of(const CsHttpRequest *request, int status)
{
	const CsTransfer *transfer = request->transfer;

	if (transfer->too_large || headers_too_large(request))
		return CS_FAILURE_TOO_LARGE;
	if (transfer->out_of_memory)
		return CS_FAILURE_OUT_OF_MEMORY;

	switch (request->result)
	{
		case CURLE_OK:
			/* libcurl is content with headers that break off. */
			if (!transfer->headers_complete)
				return CS_FAILURE_CONNECTION_LOST;
			if (status >= 300 && status < 400)
				return CS_FAILURE_REDIRECT;
			return status >= 200 && status <= 999 ? CS_FAILURE_NONE : CS_FAILURE_MALFORMED;
		case CURLE_OUT_OF_MEMORY:
		case CURLE_URL_MALFORMAT:	/* it was parsed before: it could not be copied */
			return CS_FAILURE_OUT_OF_MEMORY;
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_RESOLVE_PROXY:
			return CS_FAILURE_RESOLVE;
		case CURLE_COULDNT_CONNECT:
		case CURLE_INTERFACE_FAILED:
			return CS_FAILURE_CONNECT;
		case CURLE_OPERATION_TIMEDOUT:
			return CS_FAILURE_TIMEOUT;
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CRL_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_INVALIDCERTSTATUS:
		case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		case CURLE_SSL_ENGINE_NOTFOUND:
		case CURLE_SSL_ENGINE_SETFAILED:
		case CURLE_SSL_ENGINE_INITFAILED:
		case CURLE_USE_SSL_FAILED:
			return CS_FAILURE_TLS;
		case CURLE_WEIRD_SERVER_REPLY:
		case CURLE_UNSUPPORTED_PROTOCOL:	/* HTTP/0.9, that is, not HTTP at all */
		case CURLE_BAD_CONTENT_ENCODING:
		case CURLE_WRITE_ERROR: /* by libcurl's decoders: the callback's are above */
			return CS_FAILURE_MALFORMED;
		default:
			return CS_FAILURE_CONNECTION_LOST;
	}
}

static CsDelivery
delivery_of(CsFailureKind kind, const CsTransfer *transfer)
{
	if (kind == CS_FAILURE_NONE || kind == CS_FAILURE_REDIRECT)
		return CS_DELIVERY_ANSWERED;

	/* Newer versions of libcurl (8.23) fill in all times when a transfer fails. */
	if (transfer->attempts == 0 && info_long(transfer->easy, CURLINFO_REQUEST_SIZE) == 0)
		return CS_DELIVERY_NOT_SENT;
	return CS_DELIVERY_UNKNOWN;
}

/*
 * The texts.
 */

static int
ms(curl_off_t us)
{
	return (int) (us / 1000);
}

/* libcurl's own words as a sentence. */
static char *
libcurl_detail(const CsHttpRequest *request)
{
	const char *text = request->transfer->error;
	size_t		length;

	if (request->result == CURLE_OK)
		return pstrdup("The headers of the answer broke off.");
	if (text[0] == '\0')
		text = curl_easy_strerror(request->result);
	length = strlen(text);
	while (length > 0 && strchr(" .\r\n", text[length - 1]) != NULL)
		length--;
	return psprintf("libcurl says: %s.", cs_printable(text, length, MAX_LIBCURL_TEXT));
}

/* Which of the two limits fired, and where the time went. */
static void
describe_timeout(CsHttpRequest *request, const char *host, const Phases *phases)
{
	const CsHttpSpec *spec = &request->spec;
	CsFailure  *failure = &request->answer.failure;
	bool		connecting = failure->delivery == CS_DELIVERY_NOT_SENT &&
		spec->connect_timeout_ms < spec->timeout_ms &&
		ms(phases->total) < spec->timeout_ms;

	if (connecting)
	{
		failure->message = psprintf("could not connect to \"%s\" within %d ms",
									host, spec->connect_timeout_ms);
		failure->hint = pstrdup("The limit is the setting \"cupsource.connect_timeout\".");
	}
	else
	{
		failure->message = psprintf("no complete answer from \"%s\" within %d ms",
									host, spec->timeout_ms);
		failure->hint = pstrdup("The limit is the setting \"cupsource.timeout\", or for a request "
								"that places or changes an order \"cupsource.order_timeout\".");
	}

	if (request->transfer->header_bytes > 0)
		failure->detail = psprintf("The answer began after %d ms, and "
								   UINT64_FORMAT " bytes of its body arrived.",
								   ms(phases->first_byte), (uint64) request->transfer->length);
	else if (failure->delivery == CS_DELIVERY_UNKNOWN)
		failure->detail = psprintf("The request went out after %d ms, "
								   "and no byte of an answer arrived.",
								   ms(phases->sent));
	else if (phases->lookup > 0)
		failure->detail = psprintf("The host name was found after %d ms, "
								   "but %s.",
								   ms(phases->lookup),
								   pg_strncasecmp(spec->url, "https:", strlen("https:")) == 0 ?
								   "no TLS connection came about" : "the host did not answer");
	else
		failure->detail = pstrdup("The lookup of the host name did not end.");
}

/* What it is by our clock, which may be what is wrong. */
static char *
clock_text(void)
{
	char	   *text = palloc(64);
	pg_time_t	now = (pg_time_t) time(NULL);

	pg_strftime(text, 64, "%Y-%m-%d %H:%M:%S UTC", pg_gmtime(&now));
	return text;
}

static void
describe_tls(CsHttpRequest *request, const char *host)
{
	CsFailure  *failure = &request->answer.failure;

	if (request->result == CURLE_SSL_CACERT_BADFILE)
	{
		failure->message = psprintf("could not read the certificates to trust for \"%s\"", host);
		if (request->spec.ca_file != NULL)
			failure->hint = psprintf("The server's option \"ca_file\" names \"%s\".",
									 request->spec.ca_file);
		return;
	}
	if (request->result != CURLE_PEER_FAILED_VERIFICATION)
	{
		failure->message = psprintf("could not make a TLS connection to \"%s\"", host);
		return;
	}
	failure->message = psprintf("could not verify the certificate of \"%s\"", host);
	switch (info_long(request->transfer->easy, CURLINFO_SSL_VERIFYRESULT))
	{
		case X509_SELF_SIGNED:
		case X509_SELF_SIGNED_IN_CHAIN:
		case X509_NO_LOCAL_ISSUER:
		case X509_NO_LEAF_ISSUER:
			failure->hint = pstrdup("To trust a certificate authority of your own, "
									"name its file in the server's option \"ca_file\".");
			break;
		case X509_NOT_YET_VALID:
		case X509_HAS_EXPIRED:
			failure->hint = psprintf("The clock of this server says %s.", clock_text());
			break;
		default:
			break;
	}
}

static void
describe_redirect(CsHttpRequest *request, const char *host)
{
	CsFailure  *failure = &request->answer.failure;
	char	   *location = NULL;

	failure->message = psprintf("\"%s\" answered with a redirect (HTTP %d)", host, failure->status);
	curl_easy_getinfo(request->transfer->easy, CURLINFO_REDIRECT_URL, &location);
	if (location != NULL)
	{
		size_t		length;
		const char *authority = cs_http_authority(location, &length);

		/* Not the whole: a query may carry what nobody should see. */
		length += authority - location;
		failure->detail = psprintf("The redirect leads to \"%s\".",
								   cs_printable(location, length, 256));
	}
	else
		failure->detail = pstrdup("It does not say where to.");
	failure->hint = pstrdup("Redirects are not followed, because the credentials would go along; "
							"perhaps the server's option \"base_url\" is to be changed.");
}

static void
describe(CsHttpRequest *request, const Phases *phases)
{
	const CsTransfer *transfer = request->transfer;
	CsFailure  *failure = &request->answer.failure;
	size_t		length;
	const char *authority = cs_http_authority(request->spec.url, &length);
	char	   *host = cs_printable(authority, length, 256);

	switch (failure->kind)
	{
		case CS_FAILURE_RESOLVE:
			failure->message = psprintf("could not find the address of \"%s\"", host);
			break;
		case CS_FAILURE_CONNECT:
			failure->message = psprintf("could not connect to \"%s\"", host);
			break;
		case CS_FAILURE_TLS:
			describe_tls(request, host);
			break;
		case CS_FAILURE_TIMEOUT:
			describe_timeout(request, host, phases);
			break;
		case CS_FAILURE_MALFORMED:
			failure->message = psprintf("answer of \"%s\" is not valid HTTP", host);
			if (request->result == CURLE_OK)
				failure->detail = psprintf("It has the status %d.", failure->status);
			break;
		case CS_FAILURE_TOO_LARGE:
			if (headers_too_large(request))
			{
				failure->message = psprintf("headers of the answer of \"%s\" are too large", host);
				failure->detail = psprintf("One may have %d bytes, all together %d.",
										   CURL_MAX_HTTP_HEADER, CS_HTTP_MAX_HEADER_BYTES);
			}
			else
			{
				failure->message =
					psprintf("answer of \"%s\" is larger than " UINT64_FORMAT " bytes",
							 host, (uint64) transfer->limit);
				failure->detail = pstrdup("Receiving was broken off; what counts is the size "
										  "after decompression.");
				failure->hint = pstrdup("The limit is the setting \"cupsource.max_response_size\".");
			}
			break;
		case CS_FAILURE_REDIRECT:
			describe_redirect(request, host);
			break;
		case CS_FAILURE_OUT_OF_MEMORY:
			failure->message = pstrdup("out of memory");
			failure->detail = psprintf("It ran out during a request to \"%s\".", host);
			break;
		default:
			failure->message =
				psprintf("connection to \"%s\" was lost before a complete answer arrived", host);
			break;
	}
	if (failure->detail == NULL)
		failure->detail = libcurl_detail(request);
}

/* Bytes of the request; libcurl counts a body that went out with the headers in both. */
static int64
bytes_sent(const CsTransfer *transfer)
{
	int64		request_size = info_long(transfer->easy, CURLINFO_REQUEST_SIZE);
	int64		uploaded = info_number(transfer->easy, CURLINFO_SIZE_UPLOAD_T);

	if (transfer->shape == CS_SHAPE_BUFFER && request_size > uploaded)
		return request_size;
	return request_size + uploaded;
}

void
cs_http_answer_fill(CsHttpRequest *request)
{
	const CsTransfer *transfer = request->transfer;
	CURL	   *easy = transfer->easy;
	CsHttpAnswer *answer = &request->answer;
	CsFailure  *failure = &answer->failure;
	char	   *content_type = NULL;
	Phases		phases;

	phases.lookup = info_number(easy, CURLINFO_NAMELOOKUP_TIME_T);
	phases.connect = info_number(easy, CURLINFO_CONNECT_TIME_T);
	phases.tls = info_number(easy, CURLINFO_APPCONNECT_TIME_T);
	phases.sent = info_number(easy, CURLINFO_PRETRANSFER_TIME_T);
	phases.first_byte = info_number(easy, CURLINFO_STARTTRANSFER_TIME_T);
	phases.total = info_number(easy, CURLINFO_TOTAL_TIME_T);

	memset(answer, 0, sizeof(CsHttpAnswer));
	answer->status = (int) info_long(easy, CURLINFO_RESPONSE_CODE);
	answer->body = transfer->length > 0 ? transfer->data : "";
	answer->length = transfer->length;
	curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &content_type);
	answer->content_type = content_type;
	answer->server_time = http_date(transfer->date);
	answer->retry_after_ms = retry_after_ms(transfer->retry_after, answer->server_time);
	answer->http_version = http_version(easy);
	answer->new_connection = info_long(easy, CURLINFO_NUM_CONNECTS) > 0;
	answer->bytes_sent = bytes_sent(transfer);
	answer->bytes_received = info_long(easy, CURLINFO_HEADER_SIZE) +
		info_number(easy, CURLINFO_SIZE_DOWNLOAD_T);
	answer->lookup_ms = (double) phases.lookup / 1000;
	answer->connect_ms = (double) Max(phases.connect, phases.tls) / 1000;
	answer->first_byte_ms = (double) phases.first_byte / 1000;
	answer->total_ms = (double) phases.total / 1000;

	failure->kind = kind_of(request, answer->status);
	failure->delivery = delivery_of(failure->kind, transfer);
	failure->status = answer->status;
	failure->retry_after_ms = answer->retry_after_ms;
	if (failure->kind != CS_FAILURE_NONE)
	{
		MemoryContext old = MemoryContextSwitchTo(request->cxt);

		failure->sqlstate = cs_failure_sqlstate(failure->kind, failure->status);
		describe(request, &phases);
		MemoryContextSwitchTo(old);
	}
}
