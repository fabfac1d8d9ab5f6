// SPDX-License-Identifier: Apache-2.0
/* The table. Order here is the order in help and man page. */
#include "cli/cli.h"

#include "base/base.h"

#define MACHINE_OPTION                                                                             \
    {                                                                                              \
        "machine", "NAME|ID", "which machine; may be left out when the store has only one", false  \
    }
#define POINT_OPTION                                                                               \
    {                                                                                              \
        "point", "POINT",                                                                          \
            "latest (default), latest-app, an id, a time, or -10s before the newest", false        \
    }
#define SOCKET_OPTION                                                                              \
    {                                                                                              \
        "socket", "PATH", "the agent's control socket (default /run/holdfast/agent.sock)", false   \
    }

const struct hf_cli_command hf_cli_commands[] = {
    {.name = "demo",
     .arguments = "",
     .summary = "protect a machine, lose its site, open any second at the other",
     .description = "Makes two sites as network namespaces on this computer. In the first, a "
                    "machine with two disks, a database "
                    "under load on one of them, is protected; then that site is cut off and "
                    "killed. In the second, the newest "
                    "moment and one ten seconds earlier are opened, checked, mounted, and the "
                    "database is started. Needs "
                    "root; leaves nothing behind.",
     .example = "holdfast demo",
     .run = hf_cmd_demo,
     .options = {{"keep", NULL, "leave everything in place afterwards, to look around", false},
                 {"seconds", "N", "how long the load runs before the site is lost (default 25)",
                  false}}},
    {.group = "store",
     .name = "ls",
     .arguments = "STORE",
     .arguments_min = 1,
     .arguments_max = 1,
     .summary = "list the machines a store holds",
     .description = "Works on the store's directory alone: no daemon and no source need be alive.",
     .example = "holdfast store ls /var/lib/holdfast/store",
     .run = hf_cmd_store_ls},
    {.group = "store",
     .name = "points",
     .arguments = "STORE",
     .arguments_min = 1,
     .arguments_max = 1,
     .summary = "list recovery points",
     .description = "Lists the marks of a machine, oldest first, and whether each can be opened. "
                    "Any second between them can be "
                    "opened too, by giving its time to --point.",
     .example = "holdfast store points /var/lib/holdfast/store --machine db1 --last 20",
     .run = hf_cmd_store_points,
     .options = {MACHINE_OPTION,
                 {"last", "N", "only the newest N", false},
                 {"find", "POINT", "show what this point, time or position resolves to", false}}},
    {.group = "store",
     .name = "check",
     .arguments = "STORE",
     .arguments_min = 1,
     .arguments_max = 1,
     .summary = "read and verify everything a store holds",
     .description = "Reads every byte of journal and base images, compares checksums and chains, "
                    "and names what is damaged. "
                    "Exit code 3 when damage was found. Never writes.",
     .example = "holdfast store check /var/lib/holdfast/store",
     .run = hf_cmd_store_check,
     .options = {MACHINE_OPTION}},
    {.group = "store",
     .name = "export",
     .arguments = "STORE DIR",
     .arguments_min = 2,
     .arguments_max = 2,
     .summary = "write a machine's disks at a point as raw image files",
     .description = "Writes DIR/DISK.raw for each disk, sparse, and DIR/machine.json, the "
                    "machine's description at that point.",
     .example = "holdfast store export /var/lib/holdfast/store /srv/images --machine db1 --point "
                "'2026-01-31 14:03:05'",
     .run = hf_cmd_store_export,
     .options = {MACHINE_OPTION, POINT_OPTION, {"disk", "NAME|N", "only this disk", false}}},
    {.group = "view",
     .name = "serve",
     .arguments = "STORE",
     .arguments_min = 1,
     .arguments_max = 1,
     .summary = "serve a machine as it was at a point, over NBD",
     .description =
         "One NBD socket per disk, DIR/DISK.sock, served by nbdkit at once: nothing is copied "
         "first. Serves until it is "
         "interrupted. With --writable, writes go to a scratch overlay that is thrown away.",
     .example = "holdfast view serve /var/lib/holdfast/store --machine db1 --point -10s --socket "
                "/run/holdfast/view",
     .run = hf_cmd_view_serve,
     .options = {MACHINE_OPTION,
                 POINT_OPTION,
                 {"socket", "DIR", "directory for the sockets; made when absent", true},
                 {"writable", NULL, "allow writes, into an overlay that is thrown away", false},
                 {"overlay", "DIR", "where the overlay lies (default: the socket directory)",
                  false}}},
    {.group = "agent",
     .name = "status",
     .arguments = "",
     .summary = "show what the agent on this machine is doing",
     .description =
         "Mode and its cause, lag, ring fill, passes under way, link, recovery points, counters.",
     .example = "holdfast agent status",
     .run = hf_cmd_agent_status,
     .options = {SOCKET_OPTION,
                 {"watch", NULL, "refresh every second, with a progress bar for a running pass",
                  false}}},
    {.group = "agent",
     .name = "mark",
     .arguments = "",
     .summary = "set a recovery point now",
     .description =
         "Crash-consistent by default. With --app the freeze hooks run and file systems are frozen "
         "for the moment of the "
         "mark; when that is not possible in time the point is crash-consistent and says why.",
     .example = "holdfast agent mark --app --name before-upgrade",
     .run = hf_cmd_agent_mark,
     .options = {SOCKET_OPTION,
                 {"app", NULL, "application-consistent", false},
                 {"name", "TEXT", "a name to find it by", false}}},
    {.group = "agent",
     .name = "resync",
     .arguments = "",
     .summary = "compare with the target and send what differs",
     .description = "A checksum pass over all disks; only differences travel and no recovery point "
                    "is lost. With --full everything is "
                    "sent.",
     .example = "holdfast agent resync",
     .run = hf_cmd_agent_resync,
     .options = {SOCKET_OPTION, {"full", NULL, "send everything instead of comparing", false}}},
    {.group = "agent",
     .name = "disk",
     .arguments = "add|remove PATH",
     .arguments_min = 2,
     .arguments_max = 2,
     .summary = "add or remove a disk while the machine is protected",
     .description = "An added disk is copied while the points of the others go on; it belongs to "
                    "recovery points from the end of that "
                    "copy on. A removed disk keeps its history.",
     .example = "holdfast agent disk add /dev/vdc",
     .run = hf_cmd_agent_disk,
     .options = {SOCKET_OPTION}},
    {.group = "pki",
     .name = "init",
     .arguments = "DIR",
     .arguments_min = 1,
     .arguments_max = 1,
     .summary = "make a certificate authority",
     .description = "Writes DIR/ca.pem and DIR/ca-key.pem (readable by its owner only). Keep the "
                    "key off the protected machines.",
     .example = "holdfast pki init /etc/holdfast/pki",
     .run = hf_cmd_pki_init,
     .options = {{"name", "TEXT", "the authority's name (default \"holdfast\")", false}}},
    {.group = "pki",
     .name = "issue",
     .arguments = "DIR ROLE NAME",
     .arguments_min = 3,
     .arguments_max = 3,
     .summary = "issue a certificate for an agent or a target",
     .description =
         "ROLE is agent, process or target. Writes cert.pem, key.pem and a copy of ca.pem to "
         "--out; the certificate says holdfast://ROLE/NAME. An agent's NAME is the name its "
         "machine has in the store.",
     .example = "holdfast pki issue /etc/holdfast/pki target dr1 --host dr1.example.net",
     .run = hf_cmd_pki_issue,
     .options = {{"out", "DIR", "where to write (default: DIR/NAME)", false},
                 {"host", "NAME|ADDRESS", "a host name or address of the server (comma separated)",
                  false},
                 {"days", "N", "valid for N days (default 365)", false}}},
    {.name = "completion",
     .arguments = "bash",
     .arguments_min = 1,
     .arguments_max = 1,
     .summary = "print a completion script for the shell",
     .description = "Source it, or put it into /etc/bash_completion.d/holdfast.",
     .example = "holdfast completion bash > /etc/bash_completion.d/holdfast",
     .run = hf_cmd_completion},
    {.name = "man",
     .arguments = "",
     .summary = "print the manual page",
     .description = "In roff, as man(1) reads it.",
     .example = "holdfast man | man -l -",
     .run = hf_cmd_man},
};

const size_t hf_cli_command_count = HF_ARRAY_COUNT(hf_cli_commands);
