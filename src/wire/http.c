/*
 * http.c
 *	  Requests: what may be sent, and to whom such a request belongs.
 *
 * A request belongs to the memory context it was started in; a reset callback
 * there, registered before anything is acquired, ends it whatever happens.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "src/wire/http_private.h"

/* The last origin that check_url found sound, e.g. "https://api.example.com". */
static char checked_origin[256] = "";

const char *
cs_http_authority(const char *url, size_t *length)
{
	const char *start = strstr(url, "://");

	start = start ? start + 3 : url;
	*length = strcspn(start, "/?#");
	return start;
}

static bool
is_loopback(const char *host)
{
	struct in_addr address;

	if (pg_strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
		return true;
	return inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

/*
 * Throws unless 'origin' may be talked to.  The parser is libcurl's own, so
 * that the host looked at here is the one that will be connected to.
 */
static void
check_origin(const char *origin)
{
	CURLU	   *handle = curl_url();
	char	   *scheme = NULL;
	char	   *host = NULL;
	char	   *user = NULL;
	CURLUcode	code = CURLUE_OUT_OF_MEMORY;
	bool		https = false;
	bool		loopback = false;
	bool		has_user;

	if (handle != NULL)
		code = curl_url_set(handle, CURLUPART_URL, origin, 0);
	if (code == CURLUE_OK)
		code = curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0);
	if (code == CURLUE_OK)
		code = curl_url_get(handle, CURLUPART_HOST, &host, 0);
	if (code == CURLUE_OK)
	{
		https = strcmp(scheme, "https") == 0;
		loopback = strcmp(scheme, "http") == 0 && is_loopback(host);
	}
	has_user = code == CURLUE_OK &&
		curl_url_get(handle, CURLUPART_USER, &user, 0) != CURLUE_NO_USER;
	curl_free(scheme);
	curl_free(host);
	curl_free(user);
	curl_url_cleanup(handle);

	if (code == CURLUE_OUT_OF_MEMORY)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	if (code != CURLUE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid URL"),
				 errdetail("libcurl says: %s.", curl_url_strerror(code))));
	if (has_user)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a user name or password in a URL is not allowed")));
	if (!https && !loopback)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not an https URL", cs_printable(origin, strlen(origin), 256)),
				 errdetail("Plain http is allowed to a loopback address only.")));
}

static void
check_url(const char *url)
{
	size_t		length;
	const char *authority;

	for (const unsigned char *p = (const unsigned char *) url; *p; p++)
	{
		if (*p <= ' ' || *p == 0x7f)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a space or control character in a URL is not allowed")));
	}

	authority = cs_http_authority(url, &length);
	length += authority - url;
	if (length > 0 && strncmp(url, checked_origin, length) == 0 && checked_origin[length] == '\0')
		return;

	check_origin(pnstrdup(url, length));
	if (length < sizeof(checked_origin))
		strlcpy(checked_origin, url, length + 1);
}

/* The value of a header may be a secret: it is not shown. */
static void
check_headers(const char *const *headers)
{
	for (; headers != NULL && *headers != NULL; headers++)
	{
		if (strchr(*headers, ':') == NULL || strpbrk(*headers, "\r\n") != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid request header"),
					 errdetail("A header is one line with a name, a colon and a value.")));
	}
}

static void
release_callback(void *arg)
{
	cs_http_release((CsHttpRequest *) arg);
}

CsHttpRequest *
cs_http_start(MemoryContext cxt, const CsHttpSpec *spec)
{
	CsHttpRequest *request;

	Assert(MyLatch != NULL && MyProcPid != PostmasterPid);
	cs_http_multi_open();
	check_url(spec->url);
	check_headers(spec->headers);

	request = MemoryContextAllocZero(cxt, sizeof(CsHttpRequest));
	request->cxt = cxt;
	request->spec = *spec;
	request->state = CS_REQUEST_RELEASED;
	request->callback.func = release_callback;
	request->callback.arg = request;
	MemoryContextRegisterResetCallback(cxt, &request->callback);

	cs_http_transfer_take(request);
	cs_http_multi_add(request);
	return request;
}

bool
cs_http_done(const CsHttpRequest *request)
{
	return request->state == CS_REQUEST_DONE;
}

const CsHttpAnswer *
cs_http_answer(CsHttpRequest *request)
{
	Assert(request->state == CS_REQUEST_DONE);
	if (!request->answered)
		cs_http_answer_fill(request);
	request->answered = true;
	return &request->answer;
}

void
cs_http_release(CsHttpRequest *request)
{
	CsTransfer *transfer = request->transfer;

	if (transfer == NULL)
		return;
	request->transfer = NULL;
	if (request->state == CS_REQUEST_DONE)
		cs_http_transfer_retire(transfer);
	else
	{
		/* What was broken off is not used again. */
		cs_http_multi_remove(request, transfer);
		cs_http_transfer_free(transfer);
	}
	request->state = CS_REQUEST_RELEASED;
}

char *
cs_http_escape(const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	char	   *result = palloc(strlen(text) * 3 + 1);
	char	   *to = result;

	/* A segment of dots would climb in the path. */
	bool		dots = strcmp(text, ".") == 0 || strcmp(text, "..") == 0;

	for (const unsigned char *p = (const unsigned char *) text; *p; p++)
	{
		if ((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') ||
			*p == '-' || *p == '_' || *p == '~' || (*p == '.' && !dots))
			*to++ = (char) *p;
		else
		{
			*to++ = '%';
			*to++ = hex[*p >> 4];
			*to++ = hex[*p & 15];
		}
	}
	*to = '\0';
	return result;
}

void
cs_http_check_library(void)
{
	const curl_version_info_data *library = curl_version_info(CURLVERSION_NOW);

	if (library->version_num < 0x075700 ||
		(library->features & CURL_VERSION_ASYNCHDNS) == 0 ||
		(library->features & CURL_VERSION_SSL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot use libcurl %s", library->version),
				 errdetail("Version 7.87 or newer with TLS and an asynchronous resolver is needed.")));
}

const char *
cs_http_library(void)
{
	return curl_version();
}
