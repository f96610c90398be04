/*
 * http_transfer.c
 *	  libcurl's easy handles: set to send exactly what a request says, and
 *	  to receive no more than it allows.
 *
 * Handles are kept with their settings and used again, so that a request over
 * a warm connection sets little more than its URL and headers.  Whatever
 * libcurl does not copy lies in the request's context (URL, headers, body) or
 * in the transfer (buffers, error text), and both outlive its use.
 *
 * libcurl by itself repeats a request when a kept connection turns out to be
 * dead, a POST too, although the partner may have acted on it.  A request that
 * is not repeatable hands its body over in a way that cannot be rewound; one
 * without a body goes over a connection of its own, which libcurl never
 * retries.
 *
 * The callbacks run inside libcurl: they allocate with malloc, note what went
 * wrong and return; nothing in them can throw.
 */
#include "postgres.h"

#include <unistd.h>

#include "utils/memutils.h"

#include "src/wire/http_private.h"

/* Idle handles kept, and how much of an answer's buffer with each. */
#define MAX_IDLE_TRANSFERS 16
#define MAX_KEPT_BUFFER (256 * 1024)
#define FIRST_BUFFER (32 * 1024)

static CsTransfer *idle_transfers = NULL;
static int	nidle_transfers = 0;

/*
 * The callbacks of libcurl.
 */

/* CURLOPT_WRITEFUNCTION: what arrives here is decompressed already. */
static size_t
receive_body(char *data, size_t size, size_t count, void *arg)
{
	CsTransfer *transfer = arg;
	size_t		length = size * count;
	curl_off_t	announced = -1;

	if (transfer->length == 0)
		curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
	if (length > transfer->limit - transfer->length ||
		(announced > 0 && (size_t) announced > transfer->limit))
	{
		transfer->too_large = true;
		return 0;
	}
	if (transfer->length + length >= transfer->allocated)
	{
		size_t		wanted = Max(transfer->allocated * 2, FIRST_BUFFER);
		char	   *grown;

		if (announced > 0)
			wanted = Max(wanted, (size_t) announced + 1);
		wanted = Max(wanted, transfer->length + length + 1);
		grown = realloc(transfer->data, wanted);
		if (grown == NULL)
		{
			transfer->out_of_memory = true;
			return 0;
		}
		transfer->data = grown;
		transfer->allocated = wanted;
	}
	memcpy(transfer->data + transfer->length, data, length);
	transfer->length += length;
	transfer->data[transfer->length] = '\0';
	return length;
}

/* Keeps the value if 'line' is the header 'name' (lower case, with its colon). */
static void
keep_header(const char *name, const char *line, size_t length, char *value, size_t value_size)
{
	size_t		name_length = strlen(name);

	if (length <= name_length || pg_strncasecmp(line, name, name_length) != 0)
		return;
	line += name_length;
	length -= name_length;
	while (length > 0 && (*line == ' ' || *line == '\t'))
		line++, length--;
	while (length > 0 && (unsigned char) line[length - 1] <= ' ')
		length--;
	if (length >= value_size)
		length = 0;
	memcpy(value, line, length);
	value[length] = '\0';
}

/* CURLOPT_HEADERFUNCTION: one line each, the status line included. */
static size_t
receive_header(char *data, size_t size, size_t count, void *arg)
{
	CsTransfer *transfer = arg;
	size_t		length = size * count;

	transfer->header_bytes += length;
	if (transfer->header_bytes > CS_HTTP_MAX_HEADER_BYTES)
	{
		transfer->headers_too_large = true;
		return 0;
	}
	switch (length > 0 ? *data : '\0')
	{
		case '\r':
		case '\n':
			transfer->headers_complete = true;
			break;
		case 'H':
			/* After an interim answer the next one begins. */
			if (length > 5 && memcmp(data, "HTTP/", 5) == 0)
				transfer->headers_complete = false;
			break;
		case 'D':
		case 'd':
			keep_header("date:", data, length, transfer->date, sizeof(transfer->date));
			break;
		case 'R':
		case 'r':
			keep_header("retry-after:", data, length,
						transfer->retry_after, sizeof(transfer->retry_after));
			break;
		default:
			break;
	}
	return length;
}

/* CURLOPT_PREREQFUNCTION: a connection is there, the request comes next. */
static int
begin_sending(void *arg, char *remote, char *local, int remote_port, int local_port)
{
	((CsTransfer *) arg)->attempts++;
	return CURL_PREREQFUNC_OK;
}

/* CURLOPT_READFUNCTION, and the same for the parts of a multipart body. */
static size_t
send_body(char *buffer, size_t size, size_t count, void *arg)
{
	CsUpload   *upload = arg;
	size_t		length = Min(size * count, upload->length - upload->offset);

	memcpy(buffer, upload->data + upload->offset, length);
	upload->offset += length;
	return length;
}

/* Only parts of a repeatable request have this. */
static int
rewind_part(void *arg, curl_off_t offset, int origin)
{
	CsUpload   *upload = arg;

	if (origin != SEEK_SET || offset < 0 || (uint64) offset > upload->length)
		return CURL_SEEKFUNC_FAIL;
	upload->offset = (size_t) offset;
	return CURL_SEEKFUNC_OK;
}

/*
 * Transfers.
 */

void
cs_http_transfer_free(CsTransfer *transfer)
{
	if (transfer == NULL)
		return;
	curl_easy_cleanup(transfer->easy);
	curl_mime_free(transfer->mime);
	curl_url_cleanup(transfer->parsed_url);
	free(transfer->url);
	free(transfer->method);
	free(transfer->ca_file);
	free(transfer->data);
	free(transfer);
}

void
cs_http_transfer_retire(CsTransfer *transfer)
{
	bool		ended_well = transfer->request->result == CURLE_OK;

	transfer->request = NULL;

	/*
	 * Some versions of libcurl count retries over the life of a handle, and
	 * refuse the sixth; in others a body that could not be sent again (8.14)
	 * makes all later ones of the handle fail, also after a reset.
	 */
	if (!ended_well || transfer->attempts > 1 || transfer->mime != NULL ||
		nidle_transfers >= MAX_IDLE_TRANSFERS)
	{
		cs_http_transfer_free(transfer);
		return;
	}
	if (transfer->allocated > MAX_KEPT_BUFFER)
	{
		free(transfer->data);
		transfer->data = NULL;
		transfer->allocated = 0;
	}
	transfer->next = idle_transfers;
	idle_transfers = transfer;
	nidle_transfers++;
}

/* An idle transfer, if possible one of 'shape'; or a new one.  NULL: out of memory. */
static CsTransfer *
transfer_get(CsTransferShape shape)
{
	CsTransfer **link = &idle_transfers;
	CsTransfer *transfer;

	while (*link != NULL && (*link)->shape != shape)
		link = &(*link)->next;
	if (*link == NULL)
		link = &idle_transfers;
	transfer = *link;
	if (transfer != NULL)
	{
		*link = transfer->next;
		nidle_transfers--;
		transfer->attempts = 0;
		transfer->length = 0;
		transfer->header_bytes = 0;
		transfer->headers_complete = false;
		transfer->too_large = false;
		transfer->headers_too_large = false;
		transfer->out_of_memory = false;
		transfer->date[0] = '\0';
		transfer->retry_after[0] = '\0';
		transfer->error[0] = '\0';
		return transfer;
	}

	transfer = calloc(1, sizeof(CsTransfer));
	if (transfer != NULL && (transfer->easy = curl_easy_init()) == NULL)
	{
		free(transfer);
		transfer = NULL;
	}
	return transfer;
}

static void
require_set(CURLcode code, const char *option)
{
	if (code == CURLE_OK)
		return;
	if (code == CURLE_OUT_OF_MEMORY)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("libcurl does not accept option %s", option),
			 errdetail("libcurl says: %s.", curl_easy_strerror(code))));
}

#define SET(option, value) require_set(curl_easy_setopt(easy, option, value), #option)

/* A replacement for a string owned by a transfer; NULL stays NULL.  Throws. */
static char *
string_copy(const char *string)
{
	char	   *copy = string ? strdup(string) : NULL;

	if (string != NULL && copy == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return copy;
}

/*
 * The bundle that libcurl was built with, or NULL if it is not there.  Only
 * with a bundle and without a CA directory does libcurl keep the parsed
 * certificates; parsing takes longer than everything else about a connection.
 */
static const char *
system_bundle(void)
{
	static bool known = false;
	static const char *bundle = NULL;

	if (!known)
	{
		bundle = curl_version_info(CURLVERSION_NOW)->cainfo;
		if (bundle != NULL && access(bundle, R_OK) != 0)
			bundle = NULL;
		known = true;
	}
	return bundle;
}

static void
set_ca_file(CsTransfer *transfer, const char *ca_file)
{
	CURL	   *easy = transfer->easy;
	const char *bundle = ca_file ? ca_file : system_bundle();
	char	   *copy = string_copy(ca_file);

	free(transfer->ca_file);
	transfer->ca_file = copy;
	SET(CURLOPT_CAINFO, bundle);
	SET(CURLOPT_CAPATH, bundle ? NULL : curl_version_info(CURLVERSION_NOW)->capath);
}

/*
 * libcurl parses a URL that it is given as text at each request, and writes it
 * anew from the parts; of all that it does over a warm connection nothing takes
 * longer.  So it is given the parts, which stay as they are when the next
 * request has the same URL, and the text for its messages.
 */
static void
set_url(CsTransfer *transfer, const char *url)
{
	CURL	   *easy = transfer->easy;
	CURLUcode	code;

	if (transfer->url != NULL && strcmp(transfer->url, url) == 0)
		return;
	free(transfer->url);
	transfer->url = NULL;
	if (transfer->parsed_url == NULL && (transfer->parsed_url = curl_url()) == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	code = curl_url_set(transfer->parsed_url, CURLUPART_URL, url,
						CURLU_PATH_AS_IS | CURLU_DISALLOW_USER);
	if (code == CURLUE_OUT_OF_MEMORY)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	if (code != CURLUE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid URL"),
				 errdetail("libcurl says: %s.", curl_url_strerror(code))));
	SET(CURLOPT_URL, url);
	SET(CURLOPT_CURLU, transfer->parsed_url);
	transfer->url = string_copy(url);
}

/* Everything that is the same for all requests of one shape. */
static void
transfer_prepare(CsTransfer *transfer, CsTransferShape shape)
{
	CURL	   *easy = transfer->easy;

	if (transfer->shape != CS_SHAPE_NEW)
		curl_easy_reset(easy);
	transfer->shape = CS_SHAPE_NEW;
	transfer->connect_timeout_ms = 0;
	transfer->timeout_ms = 0;
	transfer->fresh = false;
	free(transfer->method);
	transfer->method = NULL;
	free(transfer->url);
	transfer->url = NULL;

	SET(CURLOPT_PRIVATE, transfer);
	SET(CURLOPT_ERRORBUFFER, transfer->error);
	SET(CURLOPT_WRITEFUNCTION, receive_body);
	SET(CURLOPT_WRITEDATA, transfer);
	SET(CURLOPT_HEADERFUNCTION, receive_header);
	SET(CURLOPT_HEADERDATA, transfer);
	SET(CURLOPT_PREREQFUNCTION, begin_sending);
	SET(CURLOPT_PREREQDATA, transfer);
	SET(CURLOPT_OPENSOCKETFUNCTION, cs_http_open_socket);
	SET(CURLOPT_CLOSESOCKETFUNCTION, cs_http_close_socket);

	/* Signals and timers of the process are PostgreSQL's. */
	SET(CURLOPT_NOSIGNAL, 1L);
	/* A name lookup that hangs is left behind, not waited for. */
	SET(CURLOPT_QUICK_EXIT, 1L);

	/* A partner that moved is found by the next connection, not a minute later. */
	SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L);

	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET(CURLOPT_PATH_AS_IS, 1L);
	/* Nothing from the environment or the home directory of the server. */
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOPROXY, "*");
	SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);

	SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	set_ca_file(transfer, NULL);

	SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
	SET(CURLOPT_ACCEPT_ENCODING, "");
	SET(CURLOPT_TCP_KEEPALIVE, 1L);

	switch (shape)
	{
		case CS_SHAPE_BUFFER:
			SET(CURLOPT_POST, 1L);
			break;
		case CS_SHAPE_ONCE:
			SET(CURLOPT_POST, 1L);
			SET(CURLOPT_READFUNCTION, send_body);
			SET(CURLOPT_READDATA, &transfer->upload);
			break;
		default:
			break;
	}
	transfer->shape = shape;
}

/* The multipart body; parts of a request that may not be repeated cannot be rewound. */
static void
set_parts(CsHttpRequest *request)
{
	CsTransfer *transfer = request->transfer;
	CURL	   *easy = transfer->easy;
	CsUpload   *uploads;

	uploads = MemoryContextAllocZero(request->cxt, request->spec.nparts * sizeof(CsUpload));
	transfer->mime = curl_mime_init(easy);
	for (int i = 0; i < request->spec.nparts; i++)
	{
		const CsHttpPart *from = &request->spec.parts[i];
		curl_mimepart *part = transfer->mime ? curl_mime_addpart(transfer->mime) : NULL;

		if (part == NULL)
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		uploads[i].data = from->data;
		uploads[i].length = from->length;
		require_set(curl_mime_name(part, from->name), "curl_mime_name");
		if (from->filename != NULL)
			require_set(curl_mime_filename(part, from->filename), "curl_mime_filename");
		if (from->content_type != NULL)
			require_set(curl_mime_type(part, from->content_type), "curl_mime_type");
		require_set(curl_mime_data_cb(part, (curl_off_t) from->length, send_body,
									  request->spec.repeatable ? rewind_part : NULL,
									  NULL, &uploads[i]),
					"curl_mime_data_cb");
	}
	SET(CURLOPT_MIMEPOST, transfer->mime);
}

static CsTransferShape
shape_of(const CsHttpSpec *spec)
{
	if (spec->parts != NULL)
		return CS_SHAPE_MULTIPART;
	if (spec->body != NULL && spec->body_length > 0)
		return spec->repeatable ? CS_SHAPE_BUFFER : CS_SHAPE_ONCE;
	/* "Content-Length: 0" is due after POST, PUT and PATCH, but not after GET and DELETE. */
	if (strcmp(spec->method, "POST") == 0 || strcmp(spec->method, "PUT") == 0 ||
		strcmp(spec->method, "PATCH") == 0)
		return CS_SHAPE_BUFFER;
	return CS_SHAPE_BARE;
}

/*
 * The headers as the list that libcurl wants, in the request's context:
 * libcurl only reads it, and what goes with the context needs no freeing.
 */
static struct curl_slist *
header_list(CsHttpRequest *request)
{
	const char *const *headers = request->spec.headers;
	bool		has_body = request->transfer->shape != CS_SHAPE_BARE;
	bool		has_content_type = request->transfer->shape == CS_SHAPE_MULTIPART;
	struct curl_slist *list;
	int			count = 0;

	while (headers != NULL && headers[count] != NULL)
		count++;
	if (count == 0 && !has_body)
		return NULL;
	list = MemoryContextAlloc(request->cxt, (count + 2) * sizeof(struct curl_slist));
	for (int i = 0; i < count; i++)
	{
		list[i].data = unconstify(char *, headers[i]);
		if (pg_strncasecmp(headers[i], "Content-Type:", strlen("Content-Type:")) == 0)
			has_content_type = true;
	}
	/* No second round trip before a body. */
	if (has_body)
		list[count++].data = "Expect:";
	/* libcurl would call the body a form. */
	if (has_body && !has_content_type)
		list[count++].data = "Content-Type:";
	for (int i = 0; i < count; i++)
		list[i].next = i + 1 < count ? &list[i + 1] : NULL;
	return list;
}

/* What differs from request to request. */
static void
transfer_set(CsHttpRequest *request)
{
	const CsHttpSpec *spec = &request->spec;
	CsTransfer *transfer = request->transfer;
	CURL	   *easy = transfer->easy;
	bool		has_body = transfer->shape == CS_SHAPE_MULTIPART ||
		(spec->body != NULL && spec->body_length > 0);
	bool		fresh = !spec->repeatable && !has_body;

	set_url(transfer, spec->url);
	SET(CURLOPT_HTTPHEADER, header_list(request));
	transfer->limit = (size_t) Max(spec->max_response_size, 0);

	switch (transfer->shape)
	{
		case CS_SHAPE_BUFFER:
			SET(CURLOPT_POSTFIELDSIZE_LARGE, has_body ? (curl_off_t) spec->body_length : 0);
			SET(CURLOPT_POSTFIELDS, has_body ? spec->body : "");
			break;
		case CS_SHAPE_ONCE:
			transfer->upload.data = spec->body;
			transfer->upload.length = spec->body_length;
			transfer->upload.offset = 0;
			SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) spec->body_length);
			break;
		case CS_SHAPE_MULTIPART:
			set_parts(request);
			break;
		default:
			break;
	}

	if (transfer->method == NULL || strcmp(transfer->method, spec->method) != 0)
	{
		char	   *method = string_copy(spec->method);

		free(transfer->method);
		transfer->method = method;
		SET(CURLOPT_CUSTOMREQUEST, spec->method);
	}
	if ((transfer->ca_file == NULL) != (spec->ca_file == NULL) ||
		(spec->ca_file != NULL && strcmp(transfer->ca_file, spec->ca_file) != 0))
		set_ca_file(transfer, spec->ca_file);
	if (transfer->connect_timeout_ms != spec->connect_timeout_ms)
	{
		SET(CURLOPT_CONNECTTIMEOUT_MS, (long) spec->connect_timeout_ms);
		transfer->connect_timeout_ms = spec->connect_timeout_ms;
	}
	if (transfer->timeout_ms != spec->timeout_ms)
	{
		SET(CURLOPT_TIMEOUT_MS, (long) spec->timeout_ms);
		transfer->timeout_ms = spec->timeout_ms;
	}
	if (transfer->fresh != fresh)
	{
		SET(CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
		SET(CURLOPT_FORBID_REUSE, fresh ? 1L : 0L);
		transfer->fresh = fresh;
	}
}

void
cs_http_transfer_take(CsHttpRequest *request)
{
	CsTransferShape shape = shape_of(&request->spec);

	request->transfer = transfer_get(shape);
	if (request->transfer == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	request->transfer->request = request;
	if (request->transfer->shape != shape)
		transfer_prepare(request->transfer, shape);
	transfer_set(request);
}
