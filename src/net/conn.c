// SPDX-License-Identifier: Apache-2.0
/* One TLS connection: see struct hf_conn for how its two directions keep out of each other's way.
 */
#include "net/net-internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/base.h"
#include "base/error.h"

/* TLS 1.3 with the AEADs that processors are fast at; everything else about it is GnuTLS's choice
 * of the day. */
#define PRIORITY                                                                                   \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305"
#define SESSION_FLAGS                                                                              \
    (GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS | GNUTLS_NO_TICKETS_TLS12)
#define IN_SIZE (256 * 1024)       /* ciphertext read at once */
#define WRITE_CHUNK (128 * 1024)   /* content encrypted before it is sent */
#define OUT_SIZE_MAX (1024 * 1024) /* ciphertext of a chunk, and what alerts may add */
#define FAREWELL_MS 300            /* a refused peer gets this long to read why */

/* ---- What GnuTLS takes for its socket ---- */

static ssize_t pull(gnutls_transport_ptr_t pointer, void *data, size_t size)
{
    struct hf_conn *conn = pointer;
    size_t part = HF_MIN(size, conn->in_end - conn->in_begin);

    if (part == 0 && !conn->in_eof) {
        gnutls_transport_set_errno(conn->session, EAGAIN);
        return -1;
    }
    memcpy(data, conn->in + conn->in_begin, part);
    conn->in_begin += part;
    return (ssize_t)part;
}

static int pull_timeout(gnutls_transport_ptr_t pointer, unsigned timeout_ms)
{
    struct hf_conn *conn = pointer;

    return conn->in_begin < conn->in_end || conn->in_eof;
}

static ssize_t push(gnutls_transport_ptr_t pointer, const giovec_t *parts, int count)
{
    struct hf_conn *conn = pointer;
    size_t size = 0;

    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    if (hf_bytes_reserve(&conn->out, size) < 0) {
        gnutls_transport_set_errno(conn->session, ENOMEM);
        return -1;
    }
    for (int i = 0; i < count; i++) /* cannot fail: reserved */
        hf_bytes_append(&conn->out, parts[i].iov_base, parts[i].iov_len);
    return (ssize_t)size;
}

/* ---- The socket ---- */

static int wait_for(struct hf_conn *conn, short events, int64_t deadline_ms)
{
    struct pollfd poll_fd = {.fd = conn->fd, .events = events};
    int ready = poll(&poll_fd, 1, hf_net_left_ms(deadline_ms));

    if (atomic_load(&conn->is_cancelled))
        return -ECANCELED;
    if (ready < 0 && errno != EINTR)
        return -errno;
    return ready == 0 ? -ETIMEDOUT : 0;
}

/* More ciphertext into `in`, which is empty: 1, or 0 at the end of the TCP stream. */
static int fill_in(struct hf_conn *conn, int64_t deadline_ms)
{
    HF_ASSERT(conn->in_begin == conn->in_end);
    if (conn->in_eof)
        return 0;
    for (;;) {
        ssize_t size = recv(conn->fd, conn->in, IN_SIZE, MSG_DONTWAIT);
        int error;

        if (atomic_load(&conn->is_cancelled))
            return -ECANCELED;
        if (size >= 0) {
            conn->in_begin = 0;
            conn->in_end = (size_t)size;
            conn->in_eof = size == 0;
            return size > 0;
        }
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        error = wait_for(conn, POLLIN, deadline_ms);
        if (error)
            return error;
    }
}

static int send_all(struct hf_conn *conn, const uint8_t *data, size_t size, int64_t deadline_ms)
{
    while (size > 0) {
        ssize_t sent = send(conn->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        int error = 0;

        if (atomic_load(&conn->is_cancelled))
            return -ECANCELED;
        if (sent >= 0) {
            data += sent;
            size -= (size_t)sent;
            continue;
        }
        if (errno == EPIPE)
            return -ECONNRESET;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        error = wait_for(conn, POLLOUT, deadline_ms);
        if (error)
            return error;
    }
    return 0;
}

/* What GnuTLS has put out is taken away by exchange, under the lock ... */
static void take_out(struct hf_conn *conn)
{
    struct hf_bytes taken = conn->out;

    conn->out = conn->sending;
    conn->sending = taken;
}

/* ... and sent without it. */
static int send_taken(struct hf_conn *conn, int64_t deadline_ms)
{
    int error = send_all(conn, conn->sending.data, conn->sending.size, deadline_ms);

    conn->sending.size = 0;
    if (error)
        conn->is_write_broken = true;
    return error;
}

/* ---- Handshake ---- */

/* Called by GnuTLS when the peer has shown its certificate; before that nothing of it is believed.
 */
static int verify(gnutls_session_t session)
{
    struct hf_conn *conn = gnutls_session_get_ptr(session);

    conn->verify_error = hf_tls_check_peer(conn->tls, session, conn->is_dialled, conn->role,
                                           conn->identity, conn->ret_error, conn->error_size);
    return conn->verify_error ? GNUTLS_E_CERTIFICATE_ERROR : 0;
}

static int conn_setup(struct hf_conn *conn)
{
    unsigned flags = SESSION_FLAGS | (conn->is_dialled ? GNUTLS_CLIENT : GNUTLS_SERVER);

    if (gnutls_init(&conn->session, flags) < 0)
        return -ENOMEM;
    if (gnutls_priority_set_direct(conn->session, PRIORITY, NULL) < 0 ||
        gnutls_credentials_set(conn->session, GNUTLS_CRD_CERTIFICATE, conn->tls->credentials) < 0)
        return -HF_ECONFIG;
    gnutls_session_set_ptr(conn->session, conn);
    gnutls_session_set_verify_function(conn->session, verify);
    if (!conn->is_dialled)
        gnutls_certificate_server_set_request(conn->session, GNUTLS_CERT_REQUIRE);
    gnutls_handshake_set_timeout(conn->session, 0); /* the deadline is ours */
    gnutls_transport_set_ptr(conn->session, conn);
    gnutls_transport_set_pull_function(conn->session, pull);
    gnutls_transport_set_pull_timeout_function(conn->session, pull_timeout);
    gnutls_transport_set_vec_push_function(conn->session, push);
    return 0;
}

static int conn_new(struct hf_tls *tls, int fd, const char *role, bool is_dialled,
                    struct hf_conn **ret_conn)
{
    struct hf_conn *conn = calloc(1, sizeof(*conn));
    int error;

    if (!conn) {
        close(fd);
        return -ENOMEM;
    }
    conn->fd = fd;
    conn->tls = tls;
    conn->role = role;
    conn->is_dialled = is_dialled;
    conn->is_write_broken = true; /* until the handshake is over */
    conn->out.size_max = OUT_SIZE_MAX;
    conn->sending.size_max = OUT_SIZE_MAX;
    pthread_mutex_init(&conn->lock, NULL);
    conn->in = malloc(IN_SIZE);
    error = conn->in ? conn_setup(conn) : -ENOMEM;
    if (error)
        hf_conn_free(conn);
    else
        *ret_conn = conn;
    return error;
}

static bool is_about_certificates(gnutls_alert_description_t alert)
{
    return (alert >= GNUTLS_A_BAD_CERTIFICATE && alert <= GNUTLS_A_CERTIFICATE_UNKNOWN) ||
           alert == GNUTLS_A_UNKNOWN_CA || alert == GNUTLS_A_ACCESS_DENIED ||
           alert == GNUTLS_A_CERTIFICATE_REQUIRED;
}

/* GnuTLS's fatal codes as ours; what is not here is a peer that does not speak the protocol. */
static const struct {
    int code;
    int error;
} translations[] = {
    {GNUTLS_E_CERTIFICATE_ERROR, -HF_EIDENTITY},
    {GNUTLS_E_NO_CERTIFICATE_FOUND, -HF_EIDENTITY},
    {GNUTLS_E_CERTIFICATE_REQUIRED, -HF_EIDENTITY},
    {GNUTLS_E_PREMATURE_TERMINATION, -ECONNRESET},
    {GNUTLS_E_PUSH_ERROR, -ECONNRESET},
    {GNUTLS_E_PULL_ERROR, -ECONNRESET},
    {GNUTLS_E_SESSION_EOF, -ECONNRESET},
    {GNUTLS_E_INVALID_SESSION, -ECONNRESET},
    {GNUTLS_E_DECRYPTION_FAILED, -HF_ECORRUPT},
    {GNUTLS_E_RECORD_OVERFLOW, -HF_ECORRUPT},
    {GNUTLS_E_UNEXPECTED_PACKET_LENGTH, -HF_ECORRUPT},
    {GNUTLS_E_MEMORY_ERROR, -ENOMEM},
};

static int translate(struct hf_conn *conn, int code)
{
    bool is_alert = code == GNUTLS_E_FATAL_ALERT_RECEIVED;

    if (is_alert && is_about_certificates(gnutls_alert_get(conn->session)))
        return -HF_EIDENTITY;
    /* A record cut by the end of the stream is no damage. */
    if (is_alert || (code == GNUTLS_E_UNEXPECTED_PACKET_LENGTH && conn->in_eof))
        return -ECONNRESET;
    for (size_t i = 0; i < HF_ARRAY_COUNT(translations); i++) {
        if (translations[i].code == code)
            return translations[i].error;
    }
    return -HF_EPROTO;
}

/* One call of GnuTLS, what it put out, and what it needs next. 0: go on; 1: done. */
static int handshake_step(struct hf_conn *conn, int64_t deadline_ms, int *ret_code)
{
    int code = gnutls_handshake(conn->session), error;

    *ret_code = code;
    if (code < 0 && gnutls_error_is_fatal(code))
        gnutls_alert_send_appropriate(conn->session, code);
    take_out(conn);
    error = send_taken(conn, deadline_ms);
    if (code < 0 && gnutls_error_is_fatal(code))
        return conn->verify_error ? conn->verify_error : translate(conn, code);
    if (error || code == 0)
        return error ? error : 1;
    if (code != GNUTLS_E_AGAIN || conn->in_begin < conn->in_end)
        return 0;
    error = fill_in(conn, deadline_ms);
    return error < 0 ? error : error == 0 ? -ECONNRESET : 0;
}

/* Closing with unread bytes would reset the connection, and the alert that says why be lost. */
static void say_farewell(struct hf_conn *conn)
{
    int64_t deadline_ms = hf_net_deadline(FAREWELL_MS);

    shutdown(conn->fd, SHUT_WR);
    conn->in_begin = conn->in_end = 0;
    while (fill_in(conn, deadline_ms) > 0)
        conn->in_begin = conn->in_end;
}

static int handshake(struct hf_conn *conn, int64_t deadline_ms)
{
    int result = 0, code = 0;

    while (result == 0)
        result = handshake_step(conn, deadline_ms, &code);
    if (result > 0) {
        conn->is_write_broken = false;
        return 0;
    }
    /* The check of the peer has said why already. */
    if (!conn->verify_error && code < 0 && gnutls_error_is_fatal(code))
        hf_net_say(conn->ret_error, conn->error_size, "TLS handshake: %s%s%s",
                   gnutls_strerror(code), code == GNUTLS_E_FATAL_ALERT_RECEIVED ? ": " : "",
                   code == GNUTLS_E_FATAL_ALERT_RECEIVED
                       ? gnutls_alert_get_name(gnutls_alert_get(conn->session))
                       : "");
    else if (!conn->verify_error)
        hf_net_say(conn->ret_error, conn->error_size, "TLS handshake: %s", hf_strerror(result));
    if (result != -ETIMEDOUT && result != -ECONNRESET)
        say_farewell(conn);
    return result;
}

static int conn_shake(struct hf_tls *tls, int fd, const char *role, bool is_dialled,
                      int64_t deadline_ms, struct hf_conn **ret_conn, char *ret_error,
                      size_t error_size)
{
    struct hf_conn *conn = NULL;
    int error = conn_new(tls, fd, role, is_dialled, &conn);

    if (error) {
        hf_net_say(ret_error, error_size, "%s", hf_strerror(error));
        return error;
    }
    conn->ret_error = ret_error;
    conn->error_size = error_size;
    error = handshake(conn, deadline_ms);
    conn->ret_error = NULL;
    conn->role = NULL;
    if (error)
        hf_conn_free(conn);
    else
        *ret_conn = conn;
    return error;
}

static int64_t handshake_deadline(int timeout_ms)
{
    return hf_net_deadline(timeout_ms < 0 ? HF_NET_HANDSHAKE_MS_MAX
                                          : HF_MIN(timeout_ms, HF_NET_HANDSHAKE_MS_MAX));
}

int hf_conn_dial(struct hf_tls *tls, const char *address, const char *role, int timeout_ms,
                 struct hf_conn **ret_conn, char *ret_error, size_t error_size)
{
    int64_t deadline_ms = handshake_deadline(timeout_ms);
    int fd, error = hf_socket_dial(address, deadline_ms, &fd);

    if (error) {
        hf_net_say(ret_error, error_size, "%s: %s", address, hf_strerror(error));
        return error;
    }
    return conn_shake(tls, fd, role, true, deadline_ms, ret_conn, ret_error, error_size);
}

int hf_conn_accept(struct hf_tls *tls, int fd, const char *role, int timeout_ms,
                   struct hf_conn **ret_conn, char *ret_error, size_t error_size)
{
    return conn_shake(tls, fd, role, false, handshake_deadline(timeout_ms), ret_conn, ret_error,
                      error_size);
}

/* ---- Reading ---- */

/* As much content as the ciphertext at hand gives. 0: none yet. */
static long decrypt(struct hf_conn *conn, uint8_t *data, size_t size, bool *ret_is_end)
{
    size_t done = 0;
    ssize_t part = 0;

    if (conn->read_error)
        return conn->read_error;
    pthread_mutex_lock(&conn->lock);
    while (done < size) {
        part = gnutls_record_recv(conn->session, data + done, size - done);
        /* It says so after a key update too, with ciphertext still at hand. */
        if (part == GNUTLS_E_AGAIN && conn->in_begin < conn->in_end)
            continue;
        if (part == GNUTLS_E_INTERRUPTED || part == GNUTLS_E_REHANDSHAKE)
            continue;
        if (part <= 0)
            break;
        done += (size_t)part;
    }
    *ret_is_end = *ret_is_end || part == 0;
    if (part < 0 && part != GNUTLS_E_AGAIN)
        conn->read_error = translate(conn, (int)part);
    pthread_mutex_unlock(&conn->lock);
    /* What came whole before it went wrong is given first. */
    return done == 0 && conn->read_error ? conn->read_error : (long)done;
}

long hf_conn_read(struct hf_conn *conn, void *data, size_t size, int timeout_ms)
{
    int64_t deadline_ms = hf_net_deadline(timeout_ms);

    HF_ASSERT(size > 0);
    for (;;) {
        bool is_end = conn->in_eof;
        long done = decrypt(conn, data, size, &is_end);

        if (done != 0)
            return atomic_load(&conn->is_cancelled) && done < 0 ? -ECANCELED : done;
        if (is_end)
            return atomic_load(&conn->is_cancelled) ? -ECANCELED : 0;
        done = fill_in(conn, deadline_ms);
        if (done < 0)
            return done;
    }
}

/* ---- Writing ---- */

static int encrypt(struct hf_conn *conn, const uint8_t *data, size_t size)
{
    int error = 0;

    pthread_mutex_lock(&conn->lock);
    while (size > 0 && !error) {
        ssize_t part = gnutls_record_send(conn->session, data, size);

        if (part > 0) {
            data += part;
            size -= (size_t)part;
        } else if (part != GNUTLS_E_AGAIN && part != GNUTLS_E_INTERRUPTED) {
            error = translate(conn, (int)part);
        }
    }
    take_out(conn);
    pthread_mutex_unlock(&conn->lock);
    return error;
}

int hf_conn_write(struct hf_conn *conn, const void *data, size_t size, int timeout_ms)
{
    int64_t deadline_ms = hf_net_deadline(timeout_ms);
    const uint8_t *bytes = data;

    if (conn->is_write_broken)
        return -ECONNRESET;
    while (size > 0) {
        size_t part = HF_MIN(size, WRITE_CHUNK);
        int error = encrypt(conn, bytes, part);

        if (!error)
            error = send_taken(conn, deadline_ms);
        if (error) {
            conn->is_write_broken = true;
            return atomic_load(&conn->is_cancelled) ? -ECANCELED : error;
        }
        bytes += part;
        size -= part;
    }
    return 0;
}

/* ---- The end ---- */

const char *hf_conn_identity(const struct hf_conn *conn)
{
    return conn->identity;
}

void hf_conn_shutdown(struct hf_conn *conn)
{
    atomic_store(&conn->is_cancelled, true);
    shutdown(conn->fd, SHUT_RDWR); /* wakes who polls; the descriptor stays ours until free */
}

void hf_conn_free(struct hf_conn *conn)
{
    if (!conn)
        return;
    if (conn->session && !conn->is_write_broken && !atomic_load(&conn->is_cancelled)) {
        gnutls_bye(conn->session, GNUTLS_SHUT_WR);
        take_out(conn);
        send_taken(conn, hf_net_deadline(0));
    }
    if (conn->session)
        gnutls_deinit(conn->session);
    close(conn->fd);
    pthread_mutex_destroy(&conn->lock);
    hf_bytes_clear(&conn->out);
    hf_bytes_clear(&conn->sending);
    free(conn->in);
    free(conn);
}
