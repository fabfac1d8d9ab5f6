// SPDX-License-Identifier: Apache-2.0
/* The uplink over TLS. */
#ifndef HF_AGENT_TLS_UPLINK_H
#define HF_AGENT_TLS_UPLINK_H

#include "agent/uplink.h"
#include "net/net.h"

struct hf_tls_uplink_options {
    struct hf_tls *tls;  /* taken over, even when it fails */
    const char *address; /* borrowed */
    struct hf_id node;
};

/* Connections are made and read by a thread of their own; their batches are sent by the link's
 * writer. */
int hf_tls_uplink_new(const struct hf_tls_uplink_options *options, struct hf_uplink **ret_uplink);
/* Credentials of later connections; takes tls over. The ones before live as long as a connection
 * made with them. -ENOMEM: nothing changed, tls is freed. Any thread. */
int hf_tls_uplink_renew(struct hf_uplink *uplink, struct hf_tls *tls);

#endif
