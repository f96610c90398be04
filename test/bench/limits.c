/*
 * limits.c
 *	  What the least program can do with libcurl and json-c: the yardstick.
 *
 *	  limits get URL N [CA]   median microseconds of N GETs on one connection, or,
 *							  if the server closes it, with a resumed handshake
 *	  limits post URL N       the same of N POSTs of an order
 *	  limits flush FILE N     median microseconds of N writes to FILE, each flushed to the disk
 *	  limits fetch URL        seconds to follow the cursors from URL to the end
 *	  limits parse URL        seconds to parse, with json-c, what fetch fetched
 *
 * Prints one number.  The requests are those that cupsource sends, with what
 * the partner's API asks for and the offer to compress.
 */
#include <curl/curl.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ORDER \
	"{\"line_items\":[{\"product_id\":\"prod_1\",\"quantity\":500}]," \
	"\"shipping\":{\"address\":{\"line1\":\"1 Way\",\"city\":\"Portland\",\"state\":\"OR\"," \
	"\"postal_code\":\"97201\",\"country\":\"US\"}},\"billing\":{\"po_number\":\"1\"}}"

typedef struct Buffer
{
	char	   *data;
	size_t		used;
	size_t		size;
} Buffer;

static double
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static size_t
take(char *data, size_t size, size_t n, void *arg)
{
	Buffer	   *buffer = arg;

	n *= size;
	if (buffer->used + n + 1 > buffer->size)
	{
		buffer->size = (buffer->used + n + 1) * 2;
		buffer->data = realloc(buffer->data, buffer->size);
		if (buffer->data == NULL)
			return 0;
	}
	memcpy(buffer->data + buffer->used, data, n);
	buffer->used += n;
	buffer->data[buffer->used] = '\0';
	return n;
}

static void
get(CURL *curl, const char *url)
{
	CURLcode	rc;
	long		status = 0;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (rc != CURLE_OK || status / 100 != 2)
	{
		fprintf(stderr, "limits: %s: %s, status %ld\n", url, curl_easy_strerror(rc), status);
		exit(1);
	}
}

static int
ascending(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

static void
measure_get(CURL *curl, Buffer *buffer, const char *url, int n)
{
	double	   *took = calloc(n, sizeof(double));
	int			i;

	get(curl, url);
	for (i = 0; i < n; i++)
	{
		double		start = now_us();

		buffer->used = 0;
		get(curl, url);
		took[i] = now_us() - start;
	}
	qsort(took, n, sizeof(double), ascending);
	printf("%.2f\n", took[n / 2]);
	free(took);
}

/* What every COMMIT waits for. */
static void
measure_flush(const char *name, int n)
{
	static char block[8192];
	double	   *took = calloc(n, sizeof(double));
	int			fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	/* As in a segment of the WAL, the file has its length before. */
	for (int i = -1; i < n; i++)
	{
		double		start = now_us();

		if (pwrite(fd, block, sizeof(block), 0) != sizeof(block) || fdatasync(fd) != 0)
		{
			perror(name);
			exit(1);
		}
		if (i >= 0)
			took[i] = now_us() - start;
	}
	close(fd);
	qsort(took, n, sizeof(double), ascending);
	printf("%.2f\n", took[n / 2]);
	free(took);
}

/*
 * Follow the cursors; each page is kept behind the one before, with its NUL.
 * The cursor is found by its key, not by parsing: that is not counted here.
 */
static void
measure_fetch(CURL *curl, Buffer *all, const char *url, bool parse)
{
	double		start = now_us();
	char		next[1024];
	size_t		page = 0;

	snprintf(next, sizeof(next), "%s", url);
	for (;;)
	{
		const char *cursor;

		get(curl, next);
		cursor = strstr(all->data + page, "\"next_cursor\":\"");
		if (cursor == NULL)
			break;
		cursor += strlen("\"next_cursor\":\"");
		snprintf(next, sizeof(next), "%s?cursor=%.*s", url, (int) strcspn(cursor, "\""), cursor);
		all->used++;
		page = all->used;
	}
	if (parse)
	{
		const char *end = all->data + all->used;
		const char *p;

		start = now_us();
		for (p = all->data; p < end; p += strlen(p) + 1)
		{
			struct json_tokener *tokener = json_tokener_new_ex(16);
			struct json_object *object = json_tokener_parse_ex(tokener, p, (int) strlen(p));

			if (object == NULL)
				exit(1);
			json_object_put(object);
			json_tokener_free(tokener);
		}
	}
	printf("%.4f\n", (now_us() - start) / 1e6);
}

int
main(int argc, char **argv)
{
	Buffer		buffer = {0};
	struct curl_slist *headers = NULL;
	CURL	   *curl;

	if (argc < 3)
		return 2;
	curl_global_init(CURL_GLOBAL_ALL);
	curl = curl_easy_init();
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &buffer);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
	headers = curl_slist_append(headers, "Authorization: Bearer bench");
	headers = curl_slist_append(headers, "Accept: application/json");
	headers = curl_slist_append(headers, "User-Agent: cupsource/least");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if ((strcmp(argv[1], "get") == 0 || strcmp(argv[1], "post") == 0) && argc >= 4)
	{
		if (argv[1][0] == 'p')
		{
			headers = curl_slist_append(headers, "Content-Type: application/json");
			curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
			curl_easy_setopt(curl, CURLOPT_POSTFIELDS, ORDER);
		}
		if (argc > 4)
		{
			curl_easy_setopt(curl, CURLOPT_CAINFO, argv[4]);
			curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
		}
		measure_get(curl, &buffer, argv[2], atoi(argv[3]));
	}
	else if (strcmp(argv[1], "flush") == 0 && argc >= 4)
		measure_flush(argv[2], atoi(argv[3]));
	else if (strcmp(argv[1], "fetch") == 0 || strcmp(argv[1], "parse") == 0)
		measure_fetch(curl, &buffer, argv[2], argv[1][0] == 'p');
	else
		return 2;
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	free(buffer.data);
	return 0;
}
