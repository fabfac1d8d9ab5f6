// SPDX-License-Identifier: Apache-2.0
/*
 * Carrying a session over TCP with TLS 1.3 and certificates on both sides (GnuTLS). TLS only: no
 * early data, no tickets across identities, no renegotiation, no TLS compression (SEC7, SEC8).
 * Calls block with deadlines; a connection has at most one reader and one writer thread.
 */
#ifndef HF_NET_NET_H
#define HF_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hf_tls;      /* credentials: own certificate and key, authorities */
struct hf_conn;     /* one TLS connection */
struct hf_listener; /* a listening socket */

#define HF_NET_IDENTITY_MAX 256 /* a URI: holdfast://ROLE/NAME, from the subjectAltName */
#define HF_NET_HANDSHAKE_MS_MAX 10000
#define HF_NET_ADDRESS_MAX 256 /* "host:port", "[v6]:port" */

struct hf_tls_options {
    const char *certificate_file; /* PEM chain */
    const char *key_file;         /* PEM; must not be readable by others */
    const char *authority_file;   /* PEM; who may sign the peer */
    const char *deny_file;        /* optional: fingerprints (SHA-256 hex) refused, one a line */
};

/* ret_error (size bytes, may be NULL) gets a line for people when it fails. */
int hf_tls_new(const struct hf_tls_options *options, struct hf_tls **ret_tls, char *ret_error,
               size_t error_size);
void hf_tls_free(struct hf_tls *tls); /* NULL-safe; connections made with it must be closed */

/* When the own certificate ends (seconds since 1970), for the alarms before it (fault 25). -EIO. */
int64_t hf_tls_expires_s(const struct hf_tls *tls);

/*
 * Connects and shakes hands. `role` is what the peer's identity must be: "target", or "target/name"
 * for just that one; NULL takes any. HF_EIDENTITY for a certificate that is missing, of another
 * authority, out of its time, of another role or denied; HF_EPROTO when TLS 1.3 cannot be agreed
 * on; -ETIMEDOUT (timeout_ms, at most HF_NET_HANDSHAKE_MS_MAX), -ECONNREFUSED and the like. In
 * TLS 1.3 the side that dialled is done before the other has judged its certificate: a refusal may
 * only show in the first read, as HF_EIDENTITY too. Host names are not compared: identity is the
 * URI.
 */
int hf_conn_dial(struct hf_tls *tls, const char *address, const char *role, int timeout_ms,
                 struct hf_conn **ret_conn, char *ret_error, size_t error_size);

/* Binds and listens; port 0 lets the kernel choose, and hf_listener_port says which. */
int hf_listener_new(const char *address, struct hf_listener **ret_listener);
int hf_listener_port(struct hf_listener *listener);
/* Waits for a TCP connection (no TLS yet): -ETIMEDOUT, -ECANCELED after hf_listener_stop. */
int hf_listener_accept(struct hf_listener *listener, int timeout_ms, int *ret_fd);
void hf_listener_stop(struct hf_listener *listener); /* any thread: wakes accept */
void hf_listener_free(struct hf_listener *listener); /* NULL-safe */
/* Server side handshake on an accepted socket, which it takes over even when it fails. */
int hf_conn_accept(struct hf_tls *tls, int fd, const char *role, int timeout_ms,
                   struct hf_conn **ret_conn, char *ret_error, size_t error_size);

/* Whether the peer's certificate is on the deny list by now: 0, HF_EIDENTITY, or why the list
 * cannot be read (to be taken as denied). To be asked from time to time by who keeps connections.
 * Any thread. */
int hf_conn_check_denied(struct hf_conn *conn);

/* Up to size bytes, at least 1: the count; 0 at an orderly end; -ETIMEDOUT (go on, nothing is
 * lost), -ECONNRESET (also an end without TLS's own), HF_ECORRUPT (changed on the way),
 * HF_EIDENTITY (see hf_conn_dial), -ECANCELED (shutdown). timeout_ms -1: no limit. The one reader
 * thread. */
long hf_conn_read(struct hf_conn *conn, void *data, size_t size, int timeout_ms);
/* All of it, within timeout_ms (-1: no limit); after any error the connection takes no more. The
 * one writer thread. */
int hf_conn_write(struct hf_conn *conn, const void *data, size_t size, int timeout_ms);
const char *hf_conn_identity(const struct hf_conn *conn); /* the peer's URI */
void hf_conn_shutdown(struct hf_conn *conn);              /* any thread: wakes reader and writer */
/* Says goodbye unless shut down, without waiting. NULL-safe; no thread may be inside. */
void hf_conn_free(struct hf_conn *conn);

/* Pause before the n-th attempt to connect again (n from 0): jittered, doubling, at most
 * HF_BACKOFF_MS_MAX. */
#define HF_BACKOFF_MS_MAX 15000
struct hf_random;
int hf_backoff_ms(unsigned attempt, struct hf_random *random);

#endif
