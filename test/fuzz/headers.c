/*
 * headers.c
 *	  The header lines of an answer, and what comes of a transfer with them.
 *
 * The first byte is libcurl's result, the rest are the lines.
 */
#include "src/wire/http_transfer.c"
#include "src/wire/http_answer.c"

#include "test/fuzz/fuzz.h"

/* The form that is read here means what libcurl takes it for. */
static void
check_date(const char *value)
{
	int64		ours = http_date(value);
	time_t		libcurls = curl_getdate(value, NULL);

	fuzz_check(ours >= -1, "a date is not before 1970");
	if (ours >= 0 && libcurls >= 0)
		fuzz_check(ours == (int64) libcurls, "a date is the one that libcurl reads");
}

static void
receive(CsTransfer *transfer, const char *lines, size_t length)
{
	while (length > 0)
	{
		const char *newline = memchr(lines, '\n', length);
		size_t		line_length = newline ? (size_t) (newline - lines) + 1 : length;

		/* A block of its own, so that who reads beyond the line is seen. */
		char	   *line = malloc(line_length);

		memcpy(line, lines, line_length);
		if (receive_header(line, 1, line_length, transfer) != line_length)
			fuzz_check(transfer->headers_too_large, "headers are refused for their size alone");
		free(line);
		lines += line_length;
		length -= line_length;
	}
}

void
fuzz_headers(const char *input, size_t length)
{
	static CURL *easy = NULL;
	CsTransfer	transfer = {0};
	CsHttpRequest request = {
		.cxt = CurrentMemoryContext,
		.spec = {.method = "GET", .url = "https://partner.example/v1/products"},
		.state = CS_REQUEST_DONE,
		.transfer = &transfer,
	};
	const CsHttpAnswer *answer = &request.answer;

	if (length == 0)
		return;
	if (easy == NULL)
		easy = curl_easy_init();
	fuzz_check(easy != NULL, "libcurl has a handle");
	transfer.easy = easy;
	transfer.request = &request;
	transfer.limit = 1024;
	request.result = (CURLcode) ((unsigned char) *input % CURL_LAST);
	receive(&transfer, input + 1, length - 1);
	check_date(transfer.date);
	check_date(transfer.retry_after);
	cs_http_answer_fill(&request);
	fuzz_check(answer->retry_after_ms >= -1 && answer->server_time >= -1,
			   "a header is read, or is absent");
	fuzz_check(answer->failure.kind != CS_FAILURE_NONE && answer->failure.message != NULL &&
			   answer->failure.detail != NULL && answer->failure.sqlstate != 0,
			   "what is no answer is a failure with words and a code");
}
