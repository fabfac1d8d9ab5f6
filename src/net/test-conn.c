// SPDX-License-Identifier: Apache-2.0
/* Who is let in, and how a connection ends (SEC7, SEC8). */
#include "base/test-support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/error.h"
#include "net/net-internal.h"
#include "net/net-test.h"

static struct hf_test_pki pki;
static char error[256];

static int setup(void **state)
{
    hf_test_pki_new(&pki);
    return 0;
}

static int teardown(void **state)
{
    hf_test_pki_remove(&pki);
    return 0;
}

/* What each side is told when these two meet. The dialling side of TLS 1.3 may learn of a refusal
 * only by reading. */
struct meeting {
    int agent;
    int target;
    char agent_text[256];
    char target_text[256];
};

static struct meeting meet(struct hf_tls *agent, const char *wanted_target, struct hf_tls *target,
                           const char *wanted_agent)
{
    struct hf_test_server server = {0};
    struct hf_conn *conn = NULL;
    struct meeting meeting = {0};
    char byte;

    hf_test_server_start(&server, target, wanted_agent);
    meeting.agent = hf_conn_dial(agent, server.address, wanted_target, 5000, &conn,
                                 meeting.agent_text, sizeof(meeting.agent_text));
    meeting.target = hf_test_server_join(&server);
    hf_conn_free(server.conn); /* one that was let in reads an orderly end: 0 */
    if (meeting.agent == 0)
        meeting.agent = (int)hf_conn_read(conn, &byte, 1, 5000);
    snprintf(meeting.target_text, sizeof(meeting.target_text), "%s", server.error);
    hf_conn_free(conn);
    return meeting;
}

static void both_sides_learn_who_the_other_is(void **state)
{
    struct hf_conn *agent, *target;
    struct hf_tls *tls[2];
    char buffer[16];

    hf_test_connect(&pki, &agent, &target, tls);
    assert_string_equal(hf_conn_identity(agent), "holdfast://target/t1");
    assert_string_equal(hf_conn_identity(target), "holdfast://agent/db1");
    assert_int_equal(hf_conn_write(agent, "hello", 5, 1000), 0);
    assert_int_equal(hf_conn_read(target, buffer, sizeof(buffer), 1000), 5);
    assert_memory_equal(buffer, "hello", 5);
    assert_int_equal(gnutls_protocol_get_version(agent->session), GNUTLS_TLS1_3);
    assert_int_equal(hf_conn_check_denied(target), 0);
    hf_conn_free(agent);
    assert_int_equal(hf_conn_read(target, buffer, sizeof(buffer), 1000), 0);
    hf_conn_free(target);
    hf_tls_free(tls[0]);
    hf_tls_free(tls[1]);
}

static void assert_refused(struct meeting meeting, const char *text)
{
    const char *told = meeting.target == -HF_EIDENTITY ? meeting.target_text : meeting.agent_text;

    assert_true(meeting.agent == -HF_EIDENTITY);
    assert_true(meeting.target == -HF_EIDENTITY);
    if (!strstr(told, text))
        print_message("told: %s\n", told);
    assert_non_null(strstr(told, text));
}

static void certificate_of_another_authority_is_refused(void **state)
{
    struct hf_tls *target = hf_test_tls(&pki, "target", "t1");
    struct hf_tls *stranger = hf_test_tls_between(&pki, "other", "agent", "x", -60, 86400, NULL);
    struct hf_tls *impostor = hf_test_tls_between(&pki, "other", "target", "t1", -60, 9999, NULL);
    struct hf_tls *agent = hf_test_tls(&pki, "agent", "db1");

    assert_refused(meet(stranger, "target", target, "agent"), "");
    assert_refused(meet(agent, "target", impostor, "agent"), "");
    hf_tls_free(agent);
    hf_tls_free(impostor);
    hf_tls_free(stranger);
    hf_tls_free(target);
}

static void fault_25_expired_or_future_certificate_is_refused_with_its_reason(void **state)
{
    struct hf_tls *target = hf_test_tls(&pki, "target", "t1");
    struct hf_tls *old = hf_test_tls_between(&pki, "ca", "agent", "old", -86400, -60, NULL);
    struct hf_tls *early = hf_test_tls_between(&pki, "ca", "agent", "early", 3600, 86400, NULL);

    assert_refused(meet(old, "target", target, "agent"), "expired");
    assert_refused(meet(early, "target", target, "agent"), "not yet");
    assert_true(hf_tls_expires_s(old) < time(NULL));
    hf_tls_free(early);
    hf_tls_free(old);
    hf_tls_free(target);
}

static void another_role_or_name_is_refused(void **state)
{
    struct hf_tls *target = hf_test_tls(&pki, "target", "t1");
    struct hf_tls *agent = hf_test_tls(&pki, "agent", "db1");
    struct hf_tls *longer = hf_test_tls(&pki, "agents", "db1");

    assert_refused(meet(agent, "target", target, "process"), "expected role process");
    assert_refused(meet(agent, "process", target, "agent"), "");
    assert_refused(meet(longer, "target", target, "agent"), "expected role agent");
    assert_refused(meet(agent, "target/t2", target, "agent"), "");
    assert_int_equal(meet(agent, "target/t1", target, "agent/db1").target, 0);
    assert_int_equal(meet(agent, NULL, target, NULL).target, 0);
    hf_tls_free(longer);
    hf_tls_free(agent);
    hf_tls_free(target);
}

/* The fingerprint as people copy it: with colons, in capitals. */
static void deny_all(const char *path, const char *certificate_dir)
{
    gnutls_datum_t pem, der = {0};
    gnutls_x509_crt_t certificate;
    uint8_t fingerprint[32];
    size_t size = sizeof(fingerprint);
    char file[256];
    FILE *deny;

    snprintf(file, sizeof(file), "%s/%s/cert.pem", pki.dir, certificate_dir);
    assert_int_equal(gnutls_load_file(file, &pem), 0);
    assert_int_equal(gnutls_x509_crt_init(&certificate), 0);
    assert_int_equal(gnutls_x509_crt_import(certificate, &pem, GNUTLS_X509_FMT_PEM), 0);
    assert_int_equal(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_DER, &der), 0);
    assert_int_equal(gnutls_fingerprint(GNUTLS_DIG_SHA256, &der, fingerprint, &size), 0);
    deny = fopen(path, "w");
    assert_non_null(deny);
    fprintf(deny, "# stolen in June\n\n");
    for (size_t i = 0; i < size; i++)
        fprintf(deny, "%s%02X", i ? ":" : "", fingerprint[i]);
    fprintf(deny, "  # db1\n");
    fclose(deny);
    gnutls_x509_crt_deinit(certificate);
    gnutls_free(pem.data);
    gnutls_free(der.data);
}

static void denied_certificate_is_refused_at_once(void **state)
{
    struct hf_test_server server = {0};
    struct hf_tls *agent = hf_test_tls(&pki, "agent", "db1"), *target;
    struct hf_conn *conn = NULL;
    char deny[128];
    FILE *file;

    snprintf(deny, sizeof(deny), "%s/deny", pki.dir);
    file = fopen(deny, "w");
    assert_non_null(file);
    fclose(file);
    target = hf_test_tls_between(&pki, "ca", "target", "t1", -60, 86400, deny);
    hf_test_server_start(&server, target, "agent");
    assert_int_equal(hf_conn_dial(agent, server.address, "target", 5000, &conn, error, 256), 0);
    assert_int_equal(hf_test_server_join(&server), 0);
    assert_int_equal(hf_conn_check_denied(server.conn), 0);
    deny_all(deny, "ca-agent-db1"); /* while it is connected */
    assert_int_equal(hf_conn_check_denied(server.conn), -HF_EIDENTITY);
    assert_refused(meet(agent, "target", target, "agent"), "denied");
    hf_conn_free(conn);
    hf_conn_free(server.conn);

    file = fopen(deny, "w"); /* a list that nobody can read aright denies all */
    assert_non_null(file);
    fprintf(file, "not a fingerprint\n");
    fclose(file);
    assert_refused(meet(agent, "target", target, "agent"), "deny");
    unlink(deny);
    assert_refused(meet(agent, "target", target, "agent"), "deny");
    hf_tls_free(agent);
    hf_tls_free(target);
}

/* A client of GnuTLS's own making: what it says of the handshake. */
static int raw_client(const char *address, const char *priority)
{
    gnutls_certificate_credentials_t credentials;
    struct sockaddr_in to = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0), result;
    gnutls_session_t session;
    char byte;

    to.sin_port = htons((uint16_t)strtol(strchr(address, ':') + 1, NULL, 10));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(gnutls_certificate_allocate_credentials(&credentials), 0);
    assert_int_equal(gnutls_init(&session, GNUTLS_CLIENT), 0);
    assert_int_equal(gnutls_priority_set_direct(session, priority, NULL), 0);
    assert_int_equal(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials), 0);
    gnutls_transport_set_int(session, fd);
    do {
        result = gnutls_handshake(session);
    } while (result < 0 && !gnutls_error_is_fatal(result));
    if (result == 0) /* TLS 1.3: the refusal comes behind */
        result = (int)gnutls_record_recv(session, &byte, 1);
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    close(fd);
    return result;
}

static void client_without_certificate_is_refused(void **state)
{
    struct hf_test_server server = {0};
    struct hf_tls *target = hf_test_tls(&pki, "target", "t1");

    hf_test_server_start(&server, target, "agent");
    assert_true(raw_client(server.address, "NORMAL") < 0);
    assert_int_equal(hf_test_server_join(&server), -HF_EIDENTITY);
    assert_true(server.error[0] != '\0');
    hf_tls_free(target);
}

static void client_of_tls_1_2_is_refused(void **state)
{
    struct hf_test_server server = {0};
    struct hf_tls *target = hf_test_tls(&pki, "target", "t1");

    hf_test_server_start(&server, target, "agent");
    assert_true(raw_client(server.address, "NORMAL:-VERS-ALL:+VERS-TLS1.2") < 0);
    assert_int_equal(hf_test_server_join(&server), -HF_EPROTO);
    hf_tls_free(target);
}

static int plain_socket(const char *address)
{
    int fd = -1;

    assert_int_equal(hf_socket_dial(address, hf_net_deadline(1000), &fd), 0);
    return fd;
}

/* Fault 26: a peer that says nothing, or never ends its handshake, holds a thread for no longer
 * than the deadline. */
static void fault_26_handshake_that_stalls_ends_at_the_deadline(void **state)
{
    static const uint8_t record[] = {22, 3, 1, 2, 0, 1}; /* the beginning of one */
    struct hf_test_server server = {.timeout_ms = 300};
    struct hf_tls *target = hf_test_tls(&pki, "target", "t1");

    for (size_t size = 0; size <= sizeof(record); size += sizeof(record)) {
        int64_t started = hf_net_now_ms();
        int fd;

        hf_test_server_start(&server, target, "agent");
        fd = plain_socket(server.address);
        assert_int_equal(send(fd, record, size, 0), (ssize_t)size);
        assert_int_equal(hf_test_server_join(&server), -ETIMEDOUT);
        assert_in_range(hf_net_now_ms() - started, 250, 3000);
        close(fd);
    }
    hf_tls_free(target);
}

static void fault_17_garbage_instead_of_tls_is_refused(void **state)
{
    static const char *const greetings[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff"};
    struct hf_test_server server = {.timeout_ms = 500};
    struct hf_tls *target = hf_test_tls(&pki, "target", "t1");

    for (size_t i = 0; i < HF_ARRAY_COUNT(greetings); i++) {
        int fd;

        hf_test_server_start(&server, target, "agent");
        fd = plain_socket(server.address);
        assert_true(send(fd, greetings[i], strlen(greetings[i]), 0) > 0);
        assert_true(hf_test_server_join(&server) < 0);
        close(fd);
    }
    hf_tls_free(target);
}

static void reading_nothing_times_out_and_goes_on(void **state)
{
    struct hf_conn *agent, *target;
    struct hf_tls *tls[2];
    char byte;

    hf_test_connect(&pki, &agent, &target, tls);
    assert_int_equal(hf_conn_read(target, &byte, 1, 0), -ETIMEDOUT);
    assert_int_equal(hf_conn_read(target, &byte, 1, 50), -ETIMEDOUT);
    assert_int_equal(hf_conn_write(agent, "x", 1, 1000), 0);
    assert_int_equal(hf_conn_read(target, &byte, 1, 1000), 1);
    hf_conn_free(agent);
    hf_conn_free(target);
    hf_tls_free(tls[0]);
    hf_tls_free(tls[1]);
}

static void writing_to_one_that_does_not_read_times_out_and_is_over(void **state)
{
    struct hf_conn *agent, *target;
    struct hf_tls *tls[2];
    size_t size = 64 * HF_MIB;
    char *data = calloc(1, size);

    assert_non_null(data);
    hf_test_connect(&pki, &agent, &target, tls);
    assert_int_equal(hf_conn_write(agent, data, size, 200), -ETIMEDOUT);
    assert_int_equal(hf_conn_write(agent, data, 1, 200), -ECONNRESET);
    hf_conn_free(agent);
    hf_conn_free(target);
    hf_tls_free(tls[0]);
    hf_tls_free(tls[1]);
    free(data);
}

struct blocked {
    struct hf_conn *conn;
    long result;
};

static void *read_for_ever(void *arg)
{
    struct blocked *blocked = arg;
    char byte;

    blocked->result = hf_conn_read(blocked->conn, &byte, 1, -1);
    return NULL;
}

static void *write_for_ever(void *arg)
{
    struct blocked *blocked = arg;
    static const char data[65536];

    do {
        blocked->result = hf_conn_write(blocked->conn, data, sizeof(data), -1);
    } while (blocked->result == 0);
    return NULL;
}

static void shutdown_wakes_reader_and_writer(void **state)
{
    struct hf_conn *agent, *target;
    struct hf_tls *tls[2];
    struct blocked reader, writer;
    pthread_t threads[2];

    hf_test_connect(&pki, &agent, &target, tls);
    reader.conn = writer.conn = agent;
    assert_int_equal(pthread_create(&threads[0], NULL, read_for_ever, &reader), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, write_for_ever, &writer), 0);
    usleep(100000);
    hf_conn_shutdown(agent);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_int_equal(reader.result, -ECANCELED);
    assert_int_equal(writer.result, -ECANCELED);
    hf_conn_free(agent);
    hf_conn_free(target);
    hf_tls_free(tls[0]);
    hf_tls_free(tls[1]);
}

static void listener_stops_when_told(void **state)
{
    struct hf_listener *listener = NULL;
    char address[64];
    int fd;

    listener = hf_test_listen(address, sizeof(address));
    assert_int_equal(hf_listener_accept(listener, 20, &fd), -ETIMEDOUT);
    hf_listener_stop(listener);
    assert_int_equal(hf_listener_accept(listener, -1, &fd), -ECANCELED);
    hf_listener_free(listener);
    hf_listener_free(NULL);
}

static void addresses_are_checked_and_dialling_says_what_went_wrong(void **state)
{
    static const char *const bad[] = {"", "localhost", "::1:7", "127.0.0.1:", "127.0.0.1:porty"};
    struct hf_tls *agent = hf_test_tls(&pki, "agent", "db1");
    struct hf_listener *listener;
    struct hf_conn *conn = NULL;
    char address[64];

    for (size_t i = 0; i < HF_ARRAY_COUNT(bad); i++) {
        assert_int_equal(hf_listener_new(bad[i], &listener), -EINVAL);
        assert_true(hf_conn_dial(agent, bad[i], "target", 500, &conn, error, 256) < 0);
    }
    listener = hf_test_listen(address, sizeof(address));
    hf_listener_free(listener);
    assert_int_equal(hf_conn_dial(agent, address, "target", 500, &conn, error, 256), -ECONNREFUSED);
    assert_non_null(strstr(error, address));
    assert_null(conn);
    hf_tls_free(agent);
}

static void key_that_others_can_read_is_refused(void **state)
{
    struct hf_tls_options options;
    char certificate[128], key[128], authority[128];
    struct hf_tls *tls = hf_test_tls(&pki, "agent", "open");

    hf_tls_free(tls);
    tls = NULL;
    snprintf(certificate, sizeof(certificate), "%s/ca-agent-open/cert.pem", pki.dir);
    snprintf(key, sizeof(key), "%s/ca-agent-open/key.pem", pki.dir);
    snprintf(authority, sizeof(authority), "%s/ca/ca.pem", pki.dir);
    options = (struct hf_tls_options){certificate, key, authority, NULL};
    assert_int_equal(chmod(key, 0640), 0);
    assert_int_equal(hf_tls_new(&options, &tls, error, sizeof(error)), -EPERM);
    assert_non_null(strstr(error, "chmod 600"));
    assert_int_equal(chmod(key, 0600), 0);
    options.authority_file = key;
    assert_true(hf_tls_new(&options, &tls, error, sizeof(error)) < 0);
    options.authority_file = authority;
    options.certificate_file = authority; /* not the key's */
    assert_int_equal(hf_tls_new(&options, &tls, error, sizeof(error)), -HF_ECONFIG);
    options.key_file = "/nonexistent";
    assert_int_equal(hf_tls_new(&options, &tls, error, sizeof(error)), -ENOENT);
    assert_null(tls);
}

static void back_off_doubles_to_its_limit_and_is_jittered(void **state)
{
    struct hf_random_seeded random;
    int different = 0, before = -1;

    hf_random_seeded_init(&random, 5);
    for (unsigned attempt = 0; attempt < 1000; attempt++) {
        int limit = attempt < 6 ? 250 << attempt : HF_BACKOFF_MS_MAX;
        int pause = hf_backoff_ms(attempt, &random.random);

        assert_in_range(pause, limit / 2, limit);
        different += pause != before;
        before = pause;
    }
    assert_true(different > 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_learn_who_the_other_is),
        cmocka_unit_test(certificate_of_another_authority_is_refused),
        cmocka_unit_test(fault_25_expired_or_future_certificate_is_refused_with_its_reason),
        cmocka_unit_test(another_role_or_name_is_refused),
        cmocka_unit_test(denied_certificate_is_refused_at_once),
        cmocka_unit_test(client_without_certificate_is_refused),
        cmocka_unit_test(client_of_tls_1_2_is_refused),
        cmocka_unit_test(fault_26_handshake_that_stalls_ends_at_the_deadline),
        cmocka_unit_test(fault_17_garbage_instead_of_tls_is_refused),
        cmocka_unit_test(reading_nothing_times_out_and_goes_on),
        cmocka_unit_test(writing_to_one_that_does_not_read_times_out_and_is_over),
        cmocka_unit_test(shutdown_wakes_reader_and_writer),
        cmocka_unit_test(listener_stops_when_told),
        cmocka_unit_test(addresses_are_checked_and_dialling_says_what_went_wrong),
        cmocka_unit_test(key_that_others_can_read_is_refused),
        cmocka_unit_test(back_off_doubles_to_its_limit_and_is_jittered),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
