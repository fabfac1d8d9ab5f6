// SPDX-License-Identifier: Apache-2.0
/* For tests: authorities and certificates in a directory of their own, and two ends of a connection
 * over loopback. */
#ifndef HF_NET_TEST_H
#define HF_NET_TEST_H

#include <pthread.h>
#include <time.h>

#include "net/net.h"

struct hf_test_pki {
    char dir[64];
};

/* A new directory with the authority "ca". */
void hf_test_pki_new(struct hf_test_pki *pki);
/* Removes it with all that is in it. */
void hf_test_pki_remove(struct hf_test_pki *pki);
/* Credentials for role/name signed by authority `ca` (made when missing), valid from now + from_s
 * to now + until_s; peers are trusted by the authority "ca"; `deny` may be NULL. */
struct hf_tls *hf_test_tls_between(struct hf_test_pki *pki, const char *ca, const char *role,
                                   const char *name, time_t from_s, time_t until_s,
                                   const char *deny);
/* The same with the authority "ca", valid for a day. */
struct hf_tls *hf_test_tls(struct hf_test_pki *pki, const char *role, const char *name);

/* A listener on loopback and its address. */
struct hf_listener *hf_test_listen(char *ret_address, size_t size);

/* One end that accepts in a thread of its own. */
struct hf_test_server {
    struct hf_listener *listener;
    struct hf_tls *tls;
    const char *role;
    int timeout_ms;
    char address[64];
    pthread_t thread;
    int result; /* of hf_conn_accept; after join */
    struct hf_conn *conn;
    char error[256];
};
void hf_test_server_start(struct hf_test_server *server, struct hf_tls *tls, const char *role);
/* Waits until it has accepted; closes the listener. The connection is the caller's. */
int hf_test_server_join(struct hf_test_server *server);

/* Both ends of a connection between an agent (dials) and a target, or through `address`. */
void hf_test_connect(struct hf_test_pki *pki, struct hf_conn **ret_agent,
                     struct hf_conn **ret_target, struct hf_tls *ret_tls[2]);

#endif
