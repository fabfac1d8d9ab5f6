// SPDX-License-Identifier: Apache-2.0
/*
 * Messages of the data path. Each is a 16-byte header and a body of at most HF_MESSAGE_BODY_MAX
 * bytes; little-endian, reserved bytes zero, every length checked against its limit before anything
 * is allocated. Version 1. Specification: docs/formats/wire.md.
 *
 * Two roles: the *source* side sends a machine's stream (agent; gateway towards targets), the
 * *sink* side takes it (target; gateway towards agents). Failback is the same protocol with the
 * roles exchanged.
 */
#ifndef HF_WIRE_MESSAGE_H
#define HF_WIRE_MESSAGE_H

#include "base/bytes.h"
#include "stream/batch.h"

#define HF_WIRE_MAGIC 0x31574648u /* "HFW1", first word of HELLO */
#define HF_WIRE_VERSION 1
#define HF_MESSAGE_BODY_MAX (HF_BATCH_SIZE_MAX + 4096)
#define HF_TARGETS_MAX 4    /* targets one stream is kept at */
#define HF_HASHES_MAX 16384 /* hashes in one reply */
#define HF_ERROR_TEXT_MAX 512

struct hf_message_header {
    hf_le32 body_size;
    hf_le16 type; /* enum hf_message_type */
    uint8_t flags;
    uint8_t reserved;
    hf_le32 raw_size; /* with HF_MESSAGE_COMPRESSED: the body's size once decompressed; else 0 */
    hf_le32 reserved2;
} __attribute__((packed));
_Static_assert(sizeof(struct hf_message_header) == 16, "wire");

#define HF_MESSAGE_COMPRESSED                                                                      \
    1 /* the body is one zstd frame (a gateway's recompression for the WAN) */

enum hf_message_type {
    HF_MSG_HELLO = 1,     /* source → sink, first */
    HF_MSG_HELLO_OK = 2,  /* sink → source */
    HF_MSG_ATTACH = 3,    /* source → sink: this machine, this stream, these disks */
    HF_MSG_ATTACH_OK = 4, /* sink → source: where each lane stands, credit */
    HF_MSG_BATCH = 5,     /* source → sink: an hf_batch, costs its size in credit */
    HF_MSG_ACK = 6,       /* sink → source: how far, at this hop and at a target */
    HF_MSG_CREDIT = 7, /* sink → source: bytes of BATCH that may be sent in all since ATTACH_OK (a
                          total, never falls) */
    HF_MSG_LOST = 8, /* sink → source: this hop lost what it acknowledged, from this sequence on */
    HF_MSG_HASH_GET =
        9, /* source → sink (routed to a target): hashes of the newest state of a range */
    HF_MSG_HASH_LIST = 10, /* sink → source */
    HF_MSG_PING = 11,      /* either way, when idle; echoes with PONG */
    HF_MSG_PONG = 12,
    HF_MSG_CLOSE = 13, /* either way: orderly end; everything acknowledged stays so */
    HF_MSG_CLOSE_OK = 14,
    HF_MSG_ERROR = 15, /* either way: code, text; the connection ends after it */
};

/* Bodies. Variable parts are written with hf_bytes_*, read with hf_reader. */

struct hf_msg_hello {
    uint32_t version_min; /* what the source speaks */
    uint32_t version_max;
    struct hf_id node; /* the sender's own identity */
    char software[64]; /* "holdfast 0.1.0" */
};
struct hf_msg_hello_ok {
    uint32_t version; /* chosen */
    struct hf_id node;
    char software[64];
};

struct hf_msg_disk {
    uint16_t disk;
    uint32_t block_size;
    uint64_t size_bytes;
    struct hf_id identity;
    char name[HF_DISK_NAME_MAX];
};
struct hf_msg_attach {
    struct hf_id machine;
    char machine_name[128];
    struct hf_stream_id stream; /* epoch 0: the source has none yet, the target issues it */
    uint64_t lease;             /* gateway's fencing number, 0 from an agent itself */
    uint64_t seq_oldest;        /* what the source still holds: [seq_oldest, seq_newest) */
    uint64_t seq_newest;
    uint64_t seq_acked; /* durable at the target, as far as the source knows, with its own digest
                           there */
    struct hf_digest digest_acked;
    uint32_t disk_count;
    struct hf_msg_disk disks[HF_DISKS_MAX];
};
enum hf_attach_verdict {
    HF_ATTACH_RESUME = 1,     /* go on at seq / pass_batch */
    HF_ATTACH_NEW = 2,        /* nothing of this stream here and no base: a full pass is needed */
    HF_ATTACH_CHECKSUM = 3,   /* a base is here but this stream is new: a checksum pass is needed */
    HF_ATTACH_DIVERGED = 4,   /* this stream is here but does not fit: new capture, checksum pass */
    HF_ATTACH_SUPERSEDED = 5, /* an old epoch: the machine runs elsewhere now */
};
struct hf_msg_attach_ok {
    uint8_t verdict;
    struct hf_id target;
    struct hf_stream_id stream; /* with the epoch to use */
    uint64_t seq;               /* resume here */
    struct hf_digest digest;    /* at seq */
    uint64_t pass;              /* the pass under way as the target knows it; 0: none */
    uint64_t pass_batch;        /* next batch of it */
    struct hf_digest pass_digest;
    uint64_t credit;             /* as in CREDIT */
    uint64_t disk_complete_mask; /* disks whose base is whole */
};
struct hf_msg_ack {
    struct hf_id target;
    uint64_t hop_seq;    /* durable at this hop */
    uint64_t target_seq; /* durable at the target, with its digest there */
    struct hf_digest target_digest;
    uint64_t pass;
    uint64_t pass_batch; /* durable at the target: batches 0 .. pass_batch-1 */
};
struct hf_msg_lost {
    struct hf_id target;
    uint64_t from_seq;
};
struct hf_msg_hash_get {
    uint64_t request; /* echoed */
    uint16_t disk;
    uint32_t block_size; /* 65536 or 4096 */
    uint64_t offset;
    uint32_t count; /* at most HF_HASHES_MAX */
};
struct hf_msg_hash_list {
    uint64_t request;
    uint64_t secret; /* seed of the hashes */
    int32_t error;   /* 0, or a negative code: no hashes then */
    uint32_t count;
    const struct hf_hash128 *hashes; /* borrowed */
};
enum hf_wire_error {
    HF_WIRE_EPROTOCOL = 1, /* wrong state or malformed message */
    HF_WIRE_EVERSION = 2,  /* no version in common */
    HF_WIRE_EIDENTITY = 3, /* the certificate does not allow this machine */
    HF_WIRE_EBUSY = 4,     /* the machine is attached elsewhere, or a lease is newer */
    HF_WIRE_EFENCED = 5,   /* epoch or lease too old */
    HF_WIRE_ECORRUPT =
        6, /* a batch did not verify; the source sends again from the acknowledged position */
    HF_WIRE_ESPACE = 7, /* no room for more; back off, tracking goes on in maps */
    HF_WIRE_EINTERNAL = 8,
    HF_WIRE_ELIMIT = 9, /* too many connections or machines */
};
struct hf_msg_error {
    uint32_t code; /* enum hf_wire_error */
    char text[HF_ERROR_TEXT_MAX];
};

/*
 * Encoding appends a whole message (header and body) to `out`; decoding reads a body of `size`
 * bytes that has passed the header's checks. Errors: -ENOMEM and HF_ETOOBIG; HF_ECORRUPT for a body
 * that is not exactly one well-formed message.
 */
int hf_message_encode_hello(struct hf_bytes *out, const struct hf_msg_hello *msg);
int hf_message_decode_hello(const void *body, size_t size, struct hf_msg_hello *ret_msg);
int hf_message_encode_hello_ok(struct hf_bytes *out, const struct hf_msg_hello_ok *msg);
int hf_message_decode_hello_ok(const void *body, size_t size, struct hf_msg_hello_ok *ret_msg);
int hf_message_encode_attach(struct hf_bytes *out, const struct hf_msg_attach *msg);
int hf_message_decode_attach(const void *body, size_t size, struct hf_msg_attach *ret_msg);
int hf_message_encode_attach_ok(struct hf_bytes *out, const struct hf_msg_attach_ok *msg);
int hf_message_decode_attach_ok(const void *body, size_t size, struct hf_msg_attach_ok *ret_msg);
int hf_message_encode_ack(struct hf_bytes *out, const struct hf_msg_ack *msg);
int hf_message_decode_ack(const void *body, size_t size, struct hf_msg_ack *ret_msg);
int hf_message_encode_credit(struct hf_bytes *out, uint64_t total_bytes);
int hf_message_decode_credit(const void *body, size_t size, uint64_t *ret_total_bytes);
int hf_message_encode_lost(struct hf_bytes *out, const struct hf_msg_lost *msg);
int hf_message_decode_lost(const void *body, size_t size, struct hf_msg_lost *ret_msg);
int hf_message_encode_hash_get(struct hf_bytes *out, const struct hf_msg_hash_get *msg);
int hf_message_decode_hash_get(const void *body, size_t size, struct hf_msg_hash_get *ret_msg);
int hf_message_encode_hash_list(struct hf_bytes *out, const struct hf_msg_hash_list *msg);
int hf_message_decode_hash_list(const void *body, size_t size, struct hf_msg_hash_list *ret_msg);
int hf_message_encode_error(struct hf_bytes *out, const struct hf_msg_error *msg);
int hf_message_decode_error(const void *body, size_t size, struct hf_msg_error *ret_msg);
/* PING, PONG, CLOSE, CLOSE_OK: no body. */
int hf_message_encode_empty(struct hf_bytes *out, enum hf_message_type type);
/* Only the header of a BATCH of `size` bytes; the caller sends the batch's own bytes behind it,
 * uncopied. */
void hf_message_batch_header(size_t size, struct hf_message_header *ret_header);
/* Checks a header. HF_EPROTO for an unknown type or flag, HF_ETOOBIG for a length over its type's
 * limit. */
int hf_message_header_check(const struct hf_message_header *header);

#endif
