/* The environment: start, log, threads, devices that come and go. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_version.h>

const char *ddp_version(void)
{
	return rte_version();
}

/* DPDK's last words: what it logged last, so that an error can say what it said. */
static struct {
	pthread_mutex_t lock;
	size_t len;
	char text[4096];
} last = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Makes room for n bytes, n at most the whole, by forgetting the oldest. */
static void make_room(size_t n)
{
	if (last.len + n <= sizeof(last.text))
		return;
	size_t gone = last.len + n - sizeof(last.text);
	memmove(last.text, last.text + gone, last.len - gone);
	last.len -= gone;
}

static ssize_t keep(void *cookie, const char *text, size_t len)
{
	(void)cookie;
	size_t n = len < sizeof(last.text) ? len : sizeof(last.text);
	pthread_mutex_lock(&last.lock);
	make_room(n);
	memcpy(last.text + last.len, text + len - n, n);
	last.len += n;
	pthread_mutex_unlock(&last.lock);
	/* Warnings and worse are the operator's too. */
	if (rte_log_cur_msg_loglevel() <= (int)RTE_LOG_WARNING && write(STDERR_FILENO, text, len) < 0)
		return (ssize_t)len;
	return (ssize_t)len;
}

/* Takes over DPDK's log, which otherwise goes to standard error and to syslog. Before ddp_eal_init. */
void ddp_log_keep(void)
{
	const cookie_io_functions_t functions = {.write = keep};
	FILE *stream = fopencookie(NULL, "w", functions);
	if (stream == NULL)
		return;
	setvbuf(stream, NULL, _IOLBF, 1024);
	rte_openlog_stream(stream);
}

/* Takes what was logged last, at most room bytes; what was before is forgotten. Returns how many. */
size_t ddp_log_last(char *text, size_t room)
{
	pthread_mutex_lock(&last.lock);
	size_t n = last.len < room ? last.len : room;
	memcpy(text, last.text + last.len - n, n);
	last.len = 0;
	pthread_mutex_unlock(&last.lock);
	return n;
}

int ddp_eal_init(int argc, char **argv)
{
	return rte_eal_init(argc, argv) < 0 ? -rte_errno : 0;
}

int ddp_thread_register(void)
{
	return rte_thread_register() < 0 ? -rte_errno : 0;
}

void ddp_thread_unregister(void)
{
	rte_thread_unregister();
}

int ddp_has_lcore(void)
{
	return rte_lcore_id() != (unsigned)LCORE_ID_ANY;
}

int ddp_vdev_add(const char *name, const char *arguments)
{
	return rte_eal_hotplug_add("vdev", name, arguments);
}

int ddp_vdev_remove(const char *name)
{
	return rte_eal_hotplug_remove("vdev", name);
}
