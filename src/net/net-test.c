// SPDX-License-Identifier: Apache-2.0
#include "net/net-test.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "net/pki-internal.h"

#define PATH_SIZE 256

void hf_test_pki_new(struct hf_test_pki *pki)
{
    char path[PATH_SIZE];

    snprintf(pki->dir, sizeof(pki->dir), "/tmp/hf-net-test-XXXXXX");
    HF_ASSERT(mkdtemp(pki->dir));
    snprintf(path, sizeof(path), "%s/ca", pki->dir);
    HF_ASSERT(hf_pki_init(path, "ca", NULL, 0) == 0);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

void hf_test_pki_remove(struct hf_test_pki *pki)
{
    HF_ASSERT(nftw(pki->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

struct hf_tls *hf_test_tls_between(struct hf_test_pki *pki, const char *ca, const char *role,
                                   const char *name, time_t from_s, time_t until_s,
                                   const char *deny)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    time_t now = time(NULL);
    struct hf_pki_request request = {role, name, hosts, 2, now + from_s, now + until_s};
    char authority[PATH_SIZE], out[PATH_SIZE], certificate[PATH_SIZE * 2], key[PATH_SIZE * 2];
    char trust[PATH_SIZE], error[256] = "";
    struct hf_tls_options options = {certificate, key, trust, deny};
    struct hf_tls *tls = NULL;

    snprintf(authority, sizeof(authority), "%s/%s", pki->dir, ca);
    snprintf(out, sizeof(out), "%s/%s-%s-%s", pki->dir, ca, role, name);
    snprintf(trust, sizeof(trust), "%s/ca/" HF_PKI_AUTHORITY_CERTIFICATE, pki->dir);
    if (access(authority, F_OK) < 0)
        HF_ASSERT(hf_pki_init(authority, ca, NULL, 0) == 0);
    HF_ASSERT(hf_pki_issue_request(authority, &request, out, NULL, 0) == 0);
    snprintf(certificate, sizeof(certificate), "%s/" HF_PKI_CERTIFICATE, out);
    snprintf(key, sizeof(key), "%s/" HF_PKI_KEY, out);
    if (hf_tls_new(&options, &tls, error, sizeof(error)) < 0)
        fprintf(stderr, "%s\n", error);
    HF_ASSERT(tls);
    return tls;
}

struct hf_tls *hf_test_tls(struct hf_test_pki *pki, const char *role, const char *name)
{
    return hf_test_tls_between(pki, "ca", role, name, -60, 86400, NULL);
}

struct hf_listener *hf_test_listen(char *ret_address, size_t size)
{
    struct hf_listener *listener = NULL;

    HF_ASSERT(hf_listener_new("127.0.0.1:0", &listener) == 0);
    snprintf(ret_address, size, "127.0.0.1:%d", hf_listener_port(listener));
    return listener;
}

static void *server_main(void *arg)
{
    struct hf_test_server *server = arg;
    int fd;

    server->result = hf_listener_accept(server->listener, 10000, &fd);
    if (server->result == 0)
        server->result = hf_conn_accept(server->tls, fd, server->role, server->timeout_ms,
                                        &server->conn, server->error, sizeof(server->error));
    return NULL;
}

void hf_test_server_start(struct hf_test_server *server, struct hf_tls *tls, const char *role)
{
    server->tls = tls;
    server->role = role;
    server->conn = NULL;
    server->error[0] = '\0';
    if (server->timeout_ms == 0)
        server->timeout_ms = 5000;
    server->listener = hf_test_listen(server->address, sizeof(server->address));
    HF_ASSERT(pthread_create(&server->thread, NULL, server_main, server) == 0);
}

int hf_test_server_join(struct hf_test_server *server)
{
    pthread_join(server->thread, NULL);
    hf_listener_free(server->listener);
    server->listener = NULL;
    return server->result;
}

void hf_test_connect(struct hf_test_pki *pki, struct hf_conn **ret_agent,
                     struct hf_conn **ret_target, struct hf_tls *ret_tls[2])
{
    struct hf_test_server server = {0};
    char error[256] = "";

    ret_tls[0] = hf_test_tls(pki, "agent", "db1");
    ret_tls[1] = hf_test_tls(pki, "target", "t1");
    hf_test_server_start(&server, ret_tls[1], "agent");
    if (hf_conn_dial(ret_tls[0], server.address, "target", 5000, ret_agent, error, sizeof(error)) <
        0)
        fprintf(stderr, "%s\n", error);
    HF_ASSERT(hf_test_server_join(&server) == 0 && *ret_agent);
    *ret_target = server.conn;
}
