/* What is done for every burst. */
#include "shim.h"

#include <stdbool.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>

static uint32_t at_most_a_burst(uint32_t count)
{
	return count < DDP_BURST ? count : DDP_BURST;
}

static uint32_t flags_of(const struct rte_mbuf *mbuf)
{
	const uint64_t l4 = mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	const uint64_t ip = mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
	uint32_t flags = 0;
	/* NONE says that the bytes were verified and that the sum itself is not there. */
	if ((l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD || l4 == RTE_MBUF_F_RX_L4_CKSUM_NONE) &&
	    (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD || ip == RTE_MBUF_F_RX_IP_CKSUM_NONE))
		flags |= DDP_SUMS_GOOD;
	if (l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD || ip == RTE_MBUF_F_RX_IP_CKSUM_BAD)
		flags |= DDP_SUMS_BAD;
	return mbuf->nb_segs > 1 ? flags | DDP_SEGMENTS : flags;
}

/* Takes up to limit frames that have arrived. */
uint32_t ddp_receive(uint16_t port, uint16_t queue, struct ddp_frame *frames, uint32_t limit)
{
	struct rte_mbuf *mbufs[DDP_BURST];
	const uint16_t count = rte_eth_rx_burst(port, queue, mbufs, (uint16_t)at_most_a_burst(limit));
	for (uint16_t at = 0; at < count; at++) {
		struct rte_mbuf *mbuf = mbufs[at];
		rte_prefetch0(rte_pktmbuf_mtod(mbuf, void *));
		frames[at] = (struct ddp_frame){
		    .mbuf = mbuf,
		    .data = rte_pktmbuf_mtod(mbuf, uint8_t *),
		    .len = rte_pktmbuf_data_len(mbuf),
		    .flags = flags_of(mbuf),
		};
	}
	return count;
}

/* Allocates up to count mbufs; data is behind room for headers, and len is how much there is room for. */
uint32_t ddp_allocate(struct rte_mempool *pool, struct ddp_frame *frames, uint32_t count, uint32_t headers)
{
	struct rte_mbuf *mbufs[DDP_BURST];
	uint32_t got = at_most_a_burst(count);
	if (got == 0)
		return 0;
	/* All or none; so the last few one by one. */
	if (rte_pktmbuf_alloc_bulk(pool, mbufs, got) != 0) {
		const uint32_t wanted = got;
		for (got = 0; got < wanted; got++) {
			mbufs[got] = rte_pktmbuf_alloc(pool);
			if (mbufs[got] == NULL)
				break;
		}
	}
	for (uint32_t at = 0; at < got; at++) {
		struct rte_mbuf *mbuf = mbufs[at];
		uint8_t *data = rte_pktmbuf_mtod_offset(mbuf, uint8_t *, headers);
		frames[at] = (struct ddp_frame){
		    .mbuf = mbuf,
		    .data = data,
		    .len = rte_pktmbuf_tailroom(mbuf) - headers,
		};
		rte_prefetch0(data);
	}
	return got;
}

/* Sends what it can of mbufs, each tried once, and frees the rest. Returns how many were sent. */
static uint32_t send_or_free(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count, bool prepare)
{
	uint16_t ready = prepare ? rte_eth_tx_prepare(port, queue, mbufs, count) : count;
	uint16_t sent = rte_eth_tx_burst(port, queue, mbufs, ready);
	if (unlikely(sent < count))
		rte_pktmbuf_free_bulk(mbufs + sent, count - sent);
	return sent;
}

/* Sends frames that ddp_allocate gave, whose data and len are now all of the frame. With l2_l3_len the device goes on from
 * the pseudo-header's sum that stands in UDP's: bits 0 to 7 are the length of the Ethernet header, 8 to 15 that of IP's, bit
 * 16 says IPv6. Whoever calls has the frames no more. Returns how many were sent.
 */
uint32_t ddp_transmit(uint16_t port, uint16_t queue, const struct ddp_frame *frames, uint32_t count, uint32_t l2_l3_len)
{
	struct rte_mbuf *mbufs[DDP_BURST];
	const uint16_t n = (uint16_t)at_most_a_burst(count);
	for (uint16_t at = 0; at < n; at++) {
		struct rte_mbuf *mbuf = frames[at].mbuf;
		mbuf->data_off = (uint16_t)(frames[at].data - (uint8_t *)mbuf->buf_addr);
		mbuf->data_len = (uint16_t)frames[at].len;
		mbuf->pkt_len = frames[at].len;
		if (l2_l3_len != 0) {
			mbuf->l2_len = l2_l3_len & 0xff;
			mbuf->l3_len = (l2_l3_len >> 8) & 0xff;
			mbuf->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM |
					  (l2_l3_len >> 16 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4);
		}
		mbufs[at] = mbuf;
	}
	return send_or_free(port, queue, mbufs, n, l2_l3_len != 0);
}

/* Sends frames as they were received. Whoever calls has them no more. Returns how many were sent. */
uint32_t ddp_forward(uint16_t port, uint16_t queue, const struct ddp_frame *frames, uint32_t count)
{
	struct rte_mbuf *mbufs[DDP_BURST];
	const uint16_t n = (uint16_t)at_most_a_burst(count);
	for (uint16_t at = 0; at < n; at++)
		mbufs[at] = frames[at].mbuf;
	return send_or_free(port, queue, mbufs, n, false);
}

void ddp_free(const struct ddp_frame *frames, uint32_t count)
{
	struct rte_mbuf *mbufs[DDP_BURST];
	const uint32_t n = at_most_a_burst(count);
	for (uint32_t at = 0; at < n; at++)
		mbufs[at] = frames[at].mbuf;
	rte_pktmbuf_free_bulk(mbufs, n);
}

/* Makes one frame of two that ddp_allocate gave, in two mbufs; the second belongs to the first then. For tests. */
int ddp_chain(struct ddp_frame *first, const struct ddp_frame *second)
{
	first->mbuf->data_len = (uint16_t)first->len;
	first->mbuf->pkt_len = first->len;
	second->mbuf->data_len = (uint16_t)second->len;
	second->mbuf->pkt_len = second->len;
	return rte_pktmbuf_chain(first->mbuf, second->mbuf);
}
