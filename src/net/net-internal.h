// SPDX-License-Identifier: Apache-2.0
/* What the files of this folder share. */
#ifndef HF_NET_INTERNAL_H
#define HF_NET_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/bytes.h"
#include "net/net.h"

#define HF_NET_SCHEME "holdfast://"
#define HF_NET_DENY_LINES_MAX 100000

/* ---- Time: CLOCK_MONOTONIC in milliseconds ---- */

int64_t hf_net_now_ms(void);
/* When a timeout that starts now is over; -1 for no limit (timeout_ms < 0). */
int64_t hf_net_deadline(int timeout_ms);
/* Milliseconds left, as poll takes them: -1 for no limit, 0 when it is over. */
int hf_net_left_ms(int64_t deadline_ms);

/* One line for people; ret_error may be NULL. */
void hf_net_say(char *ret_error, size_t error_size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- socket.c ---- */

/* A connected, tuned, non-blocking socket. */
int hf_socket_dial(const char *address, int64_t deadline_ms, int *ret_fd);
void hf_socket_tune(int fd);

/* ---- tls.c ---- */

struct hf_tls {
    gnutls_certificate_credentials_t credentials;
    char *deny_file; /* NULL: none */
};

/* The peer's certificate of a session that shakes hands: signed, in time, for `role` ("target", or
 * "target/name"), not denied. ret_identity has HF_NET_IDENTITY_MAX bytes. -HF_EIDENTITY. */
int hf_tls_check_peer(struct hf_tls *tls, gnutls_session_t session, bool peer_is_server,
                      const char *role, char *ret_identity, char *ret_error, size_t error_size);

/* ---- conn.c ---- */

/*
 * GnuTLS never sees the socket. It takes ciphertext from `in` and puts it into `out`; the reader
 * fills `in` and the writer empties `out` without the lock, so the lock is held for cryptography
 * only and one direction never waits for the other's socket. Everything in GnuTLS that one
 * direction does to the other (alerts, key updates) happens under the lock.
 */
struct hf_conn {
    int fd;
    struct hf_tls *tls;
    gnutls_session_t session; /* under lock once the handshake is over */
    pthread_mutex_t lock;
    struct hf_bytes out;     /* under lock: ciphertext not yet taken by the writer */
    struct hf_bytes sending; /* the writer's */
    uint8_t *in;             /* the reader's */
    size_t in_begin;
    size_t in_end;
    bool in_eof;
    int read_error; /* what ended reading */
    atomic_bool is_cancelled;
    bool is_write_broken; /* the writer's: a part of a record may be out */
    /* During the handshake: */
    bool is_dialled; /* the peer is the server */
    const char *role;
    int verify_error;
    char identity[HF_NET_IDENTITY_MAX];
    char *ret_error; /* during the handshake: where the check of the peer says why */
    size_t error_size;
};

#endif
