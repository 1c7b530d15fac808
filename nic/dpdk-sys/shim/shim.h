/* What drover-nic needs of DPDK, with types of our own.
 *
 * DPDK's structures change from release to release (rte_mbuf, rte_eth_conf, rte_eth_dev_info), and its fast functions are
 * inline. Both stay on this side, compiled against the headers that are installed: Rust sees only what is declared here,
 * by hand, in src/system.rs. Both files assert the layout of the three structures that cross.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

/* The most frames that one call moves. */
#define DDP_BURST 64

/* An mbuf and where its bytes are. */
struct ddp_frame {
	struct rte_mbuf *mbuf;
	uint8_t *data;
	uint32_t len; /* Bytes at data. */
	uint32_t flags;
};
_Static_assert(sizeof(struct ddp_frame) == 24 && offsetof(struct ddp_frame, len) == 16, "as in src/system.rs");

/* The device vouches for the sums of IP and UDP. */
#define DDP_SUMS_GOOD 1u
/* The device says that a sum is wrong. */
#define DDP_SUMS_BAD 2u
/* The frame goes on in other mbufs: len is the first one's. */
#define DDP_SEGMENTS 4u

/* What a device is and offers. */
struct ddp_device {
	char driver[32];
	int32_t socket; /* NUMA node, or -1. */
	uint32_t min_mtu;
	uint32_t max_mtu;
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint16_t rx_descriptors_max;
	uint16_t tx_descriptors_max;
	uint8_t mac[6];
	uint8_t rx_checksums; /* It can check those of IPv4 and UDP. */
	uint8_t tx_checksums; /* It can make UDP's. */
	uint8_t spreads;      /* It can spread UDP over its queues (RSS). */
	uint8_t reserved[3];
};
_Static_assert(sizeof(struct ddp_device) == 64 && offsetof(struct ddp_device, mac) == 52, "as in src/system.rs");

/* How a device is to be set up. */
struct ddp_setup {
	uint32_t mtu;
	uint16_t queues;
	uint16_t rx_descriptors;
	uint16_t tx_descriptors;
	uint8_t rx_checksums;
	uint8_t tx_checksums;
	uint8_t spread;
	uint8_t all_frames; /* Whatever their address. */
	uint8_t reserved[2];
};
_Static_assert(sizeof(struct ddp_setup) == 16 && offsetof(struct ddp_setup, spread) == 12, "as in src/system.rs");

/* eal.c. A negative result is -errno, unless it says otherwise. */
const char *ddp_version(void);
void ddp_log_keep(void);
size_t ddp_log_last(char *text, size_t room);
int ddp_eal_init(int argc, char **argv);
int ddp_thread_register(void);
void ddp_thread_unregister(void);
int ddp_has_lcore(void);
int ddp_vdev_add(const char *name, const char *arguments);
int ddp_vdev_remove(const char *name);

/* device.c */
int ddp_port_by_name(const char *name, uint16_t *port);
int ddp_device_info(uint16_t port, struct ddp_device *device);
int ddp_device_mac(uint16_t port, const uint8_t mac[6]);
int ddp_device_configure(uint16_t port, const struct ddp_setup *setup, struct rte_mempool *pool);
int ddp_device_start(uint16_t port, const struct ddp_setup *setup);
void ddp_device_close(uint16_t port);
int ddp_link_up(uint16_t port);
int ddp_missed(uint16_t port, uint64_t *missed, uint64_t *no_mbuf);
struct rte_mempool *ddp_pool_create(const char *name, uint32_t count, uint32_t cache, uint16_t room, int socket,
				    int *error);
void ddp_pool_free(struct rte_mempool *pool);
uint32_t ddp_pool_in_use(const struct rte_mempool *pool);

/* burst.c: at most DDP_BURST frames each. */
uint32_t ddp_receive(uint16_t port, uint16_t queue, struct ddp_frame *frames, uint32_t limit);
uint32_t ddp_allocate(struct rte_mempool *pool, struct ddp_frame *frames, uint32_t count, uint32_t headers);
uint32_t ddp_transmit(uint16_t port, uint16_t queue, const struct ddp_frame *frames, uint32_t count,
		      uint32_t l2_l3_len);
uint32_t ddp_forward(uint16_t port, uint16_t queue, const struct ddp_frame *frames, uint32_t count);
void ddp_free(const struct ddp_frame *frames, uint32_t count);
int ddp_chain(struct ddp_frame *first, const struct ddp_frame *second);

/* ring_pair.c */
int ddp_ring_pair(const char *a, const char *b, uint16_t queues, uint32_t slots, uint16_t ports[2]);
void ddp_ring_pair_free(const char *a, const char *b, uint16_t queues);
