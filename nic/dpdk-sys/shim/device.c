/* Devices and the pools of their mbufs. */
#include "shim.h"

#include <errno.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

/* What spreads UDP. */
#define SPREAD (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP)
#define RX_CHECKSUMS (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM)

int ddp_port_by_name(const char *name, uint16_t *port)
{
	return rte_eth_dev_get_port_by_name(name, port);
}

int ddp_device_info(uint16_t port, struct ddp_device *device)
{
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	int rc = rte_eth_dev_info_get(port, &info);
	if (rc != 0)
		return rc;
	rc = rte_eth_macaddr_get(port, &mac);
	if (rc != 0)
		return rc;
	memset(device, 0, sizeof(*device));
	strncpy(device->driver, info.driver_name == NULL ? "" : info.driver_name, sizeof(device->driver) - 1);
	device->socket = rte_eth_dev_socket_id(port);
	device->min_mtu = info.min_mtu;
	device->max_mtu = info.max_mtu;
	device->max_rx_queues = info.max_rx_queues;
	device->max_tx_queues = info.max_tx_queues;
	device->rx_descriptors_max = info.rx_desc_lim.nb_max;
	device->tx_descriptors_max = info.tx_desc_lim.nb_max;
	memcpy(device->mac, mac.addr_bytes, sizeof(device->mac));
	device->rx_checksums = (info.rx_offload_capa & RX_CHECKSUMS) == RX_CHECKSUMS;
	device->tx_checksums = (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0;
	device->spreads = (info.flow_type_rss_offloads & SPREAD) != 0;
	return 0;
}

/* A driver without filters needs no address. */
static int unless_unsupported(int rc)
{
	return rc == -ENOTSUP ? 0 : rc;
}

/* Gives the device an address; where it takes none, it is asked for all frames. */
int ddp_device_mac(uint16_t port, const uint8_t mac[6])
{
	struct rte_ether_addr address;
	memcpy(address.addr_bytes, mac, sizeof(address.addr_bytes));
	int rc = rte_eth_dev_default_mac_addr_set(port, &address);
	return rc == -ENOTSUP ? unless_unsupported(rte_eth_promiscuous_enable(port)) : rc;
}

static int configure(uint16_t port, const struct ddp_setup *setup, const struct rte_eth_dev_info *info)
{
	struct rte_eth_conf conf;
	memset(&conf, 0, sizeof(conf));
	conf.rxmode.mtu = setup->mtu;
	if (setup->rx_checksums)
		conf.rxmode.offloads = RX_CHECKSUMS;
	if (setup->tx_checksums)
		conf.txmode.offloads = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	if (setup->spread) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = SPREAD & info->flow_type_rss_offloads;
	}
	int rc = rte_eth_dev_configure(port, setup->queues, setup->queues, &conf);
	/* Drivers of kernel interfaces set the interface's own only when they are told to. */
	return rc == 0 ? unless_unsupported(rte_eth_dev_set_mtu(port, setup->mtu)) : rc;
}

/* Sets the device up, not yet started. All its queues take mbufs of the pool. */
int ddp_device_configure(uint16_t port, const struct ddp_setup *setup, struct rte_mempool *pool)
{
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_info_get(port, &info);
	if (rc == 0)
		rc = configure(port, setup, &info);
	uint16_t rx = setup->rx_descriptors, tx = setup->tx_descriptors;
	if (rc == 0)
		rc = rte_eth_dev_adjust_nb_rx_tx_desc(port, &rx, &tx);
	const unsigned socket = (unsigned)rte_eth_dev_socket_id(port);
	for (uint16_t queue = 0; rc == 0 && queue < setup->queues; queue++) {
		/* No configuration: the driver's defaults, with the port's offloads. */
		rc = rte_eth_rx_queue_setup(port, queue, rx, socket, NULL, pool);
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(port, queue, tx, socket, NULL);
	}
	return rc;
}

int ddp_device_start(uint16_t port, const struct ddp_setup *setup)
{
	int rc = rte_eth_dev_start(port);
	/* IPv6 neighbours ask a group's address. */
	if (rc == 0)
		rc = unless_unsupported(rte_eth_allmulticast_enable(port));
	if (rc == 0 && setup->all_frames)
		rc = unless_unsupported(rte_eth_promiscuous_enable(port));
	return rc;
}

/* Stops the device and gives its mbufs back. */
void ddp_device_close(uint16_t port)
{
	(void)rte_eth_dev_stop(port);
	(void)rte_eth_dev_close(port);
}

int ddp_link_up(uint16_t port)
{
	struct rte_eth_link link;
	memset(&link, 0, sizeof(link));
	int rc = rte_eth_link_get_nowait(port, &link);
	return rc < 0 ? rc : link.link_status == RTE_ETH_LINK_UP;
}

/* Frames that the device lost for want of room in a queue, and for want of an mbuf. */
int ddp_missed(uint16_t port, uint64_t *missed, uint64_t *no_mbuf)
{
	struct rte_eth_stats stats;
	int rc = rte_eth_stats_get(port, &stats);
	*missed = rc == 0 ? stats.imissed : 0;
	*no_mbuf = rc == 0 ? stats.rx_nombuf : 0;
	return rc;
}

struct rte_mempool *ddp_pool_create(const char *name, uint32_t count, uint32_t cache, uint16_t room, int socket,
				    int *error)
{
	struct rte_mempool *pool =
	    rte_pktmbuf_pool_create(name, count, cache, 0, (uint16_t)(RTE_PKTMBUF_HEADROOM + room), socket);
	*error = pool == NULL ? -rte_errno : 0;
	return pool;
}

void ddp_pool_free(struct rte_mempool *pool)
{
	rte_mempool_free(pool);
}

uint32_t ddp_pool_in_use(const struct rte_mempool *pool)
{
	return rte_mempool_in_use_count(pool);
}
