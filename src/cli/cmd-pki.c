// SPDX-License-Identifier: Apache-2.0
/* holdfast pki init, issue. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "net/pki.h"

#define DAYS_DEFAULT 365
#define HOSTS_TEXT_MAX 2048

int hf_cmd_pki_init(const struct hf_cli *cli)
{
    const char *name = hf_cli_value(cli, "name");
    char problem[256] = "";
    int error =
        hf_pki_init(cli->arguments[0], name != NULL ? name : "holdfast", problem, sizeof(problem));

    if (error < 0)
        return hf_cli_fail(cli, error, "%s", problem[0] != '\0' ? problem : hf_strerror(error));
    if (!cli->json)
        printf("%s/" HF_PKI_AUTHORITY_CERTIFICATE " and %s/" HF_PKI_AUTHORITY_KEY
               " made. Keep the key off the protected machines.\n",
               cli->arguments[0], cli->arguments[0]);
    return HF_EXIT_OK;
}

/* Cuts "a,b,c" in place. Returns the number of parts, or -1 when there are too many. */
static int split_hosts(char *text, const char **hosts)
{
    int count = 0;

    for (char *part = text; part != NULL && *part != '\0';) {
        char *comma = strchr(part, ',');

        if (count == HF_PKI_HOSTS_MAX)
            return -1;
        hosts[count++] = part;
        if (comma != NULL)
            *comma++ = '\0';
        part = comma;
    }
    return count;
}

static int usage(const char *text)
{
    fprintf(stderr, "holdfast: %s\n", text);
    return HF_EXIT_USAGE;
}

static bool role_is_known(const char *role)
{
    return strcmp(role, "agent") == 0 || strcmp(role, "process") == 0 ||
           strcmp(role, "target") == 0;
}

int hf_cmd_pki_issue(const struct hf_cli *cli)
{
    const char *dir = cli->arguments[0];
    const char *role = cli->arguments[1];
    const char *name = cli->arguments[2];
    const char *out = hf_cli_value(cli, "out");
    const char *days_text = hf_cli_value(cli, "days");
    const char *hosts_text = hf_cli_value(cli, "host");
    const char *hosts[HF_PKI_HOSTS_MAX];
    char hosts_copy[HOSTS_TEXT_MAX] = "";
    char default_out[1024];
    char problem[256] = "";
    int host_count;
    int days = days_text != NULL ? (int)strtol(days_text, NULL, 10) : DAYS_DEFAULT;
    int error;

    if (!role_is_known(role))
        return usage("ROLE is agent, process or target");
    if (days < 1 || days > HF_PKI_DAYS_MAX)
        return usage("--days takes a number from 1 to 3650");
    if (hosts_text != NULL && strlen(hosts_text) >= sizeof(hosts_copy))
        return usage("--host is too long");
    if (hosts_text != NULL)
        memcpy(hosts_copy, hosts_text, strlen(hosts_text) + 1);
    host_count = split_hosts(hosts_copy, hosts);
    if (host_count < 0)
        return usage("--host takes at most 16 names");
    snprintf(default_out, sizeof(default_out), "%s/%s", dir, name);
    if (out == NULL)
        out = default_out;
    error = hf_pki_issue(dir, role, name, hosts, (size_t)host_count, days, out, problem,
                         sizeof(problem));
    if (error < 0)
        return hf_cli_fail(cli, error, "%s", problem[0] != '\0' ? problem : hf_strerror(error));
    if (!cli->json)
        printf("holdfast://%s/%s: %s/" HF_PKI_CERTIFICATE ", %s/" HF_PKI_KEY
               ", %s/" HF_PKI_AUTHORITY_CERTIFICATE "\n",
               role, name, out, out, out);
    return HF_EXIT_OK;
}
