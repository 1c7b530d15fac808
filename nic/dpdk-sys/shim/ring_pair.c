/* Two devices joined by rings of memory: net_ring by its own interface, as its arguments can only join a device to itself. */
#include "shim.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ring.h>

#define QUEUES_MAX 16

static void ring_name(char name[RTE_RING_NAMESIZE], const char *from, uint16_t queue)
{
	snprintf(name, RTE_RING_NAMESIZE, "%.16s_%u", from, queue);
}

static void free_rings(const char *from, uint16_t queues)
{
	char name[RTE_RING_NAMESIZE];
	for (uint16_t queue = 0; queue < queues; queue++) {
		ring_name(name, from, queue);
		rte_ring_free(rte_ring_lookup(name));
	}
}

static int make_rings(const char *from, struct rte_ring **rings, uint16_t queues, uint32_t slots)
{
	char name[RTE_RING_NAMESIZE];
	for (uint16_t queue = 0; queue < queues; queue++) {
		ring_name(name, from, queue);
		rings[queue] = rte_ring_create(name, slots, SOCKET_ID_ANY, RING_F_EXACT_SZ);
		if (rings[queue] == NULL)
			return -rte_errno;
	}
	return 0;
}

static int make_port(const char *name, struct rte_ring **in, struct rte_ring **out, uint16_t queues, uint16_t *port)
{
	int rc = rte_eth_from_rings(name, in, queues, out, queues, SOCKET_ID_ANY);
	if (rc < 0)
		return rte_errno == 0 ? -ENODEV : -rte_errno;
	*port = (uint16_t)rc;
	return 0;
}

/* Makes devices a and b of as many queues each, where what a sends on a queue b receives on the same, and the reverse. */
int ddp_ring_pair(const char *a, const char *b, uint16_t queues, uint32_t slots, uint16_t ports[2])
{
	struct rte_ring *from_a[QUEUES_MAX], *from_b[QUEUES_MAX];
	if (queues == 0 || queues > QUEUES_MAX)
		return -EINVAL;
	int rc = make_rings(a, from_a, queues, slots);
	if (rc == 0)
		rc = make_rings(b, from_b, queues, slots);
	if (rc == 0)
		rc = make_port(a, from_b, from_a, queues, &ports[0]);
	if (rc == 0)
		rc = make_port(b, from_a, from_b, queues, &ports[1]);
	if (rc != 0)
		ddp_ring_pair_free(a, b, queues);
	return rc;
}

static bool is_open(const char *name)
{
	char device[RTE_ETH_NAME_MAX_LEN];
	uint16_t port;
	snprintf(device, sizeof(device), "net_ring_%s", name);
	return rte_eth_dev_get_port_by_name(device, &port) == 0;
}

/* Frees the rings of devices that are closed; those of devices that are not stay. */
void ddp_ring_pair_free(const char *a, const char *b, uint16_t queues)
{
	if (is_open(a) || is_open(b))
		return;
	free_rings(a, queues);
	free_rings(b, queues);
}
