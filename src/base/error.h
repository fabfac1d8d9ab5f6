// SPDX-License-Identifier: Apache-2.0
/*
 * Errors. Every fallible call of every library returns 0 or a negative number: a negative errno, or
 * one of the codes below where the meaning goes beyond errno. Libraries never log and never exit;
 * the text for people is made at the edge (CLI, daemon log) from the code and the context the
 * caller has.
 */
#ifndef HF_BASE_ERROR_H
#define HF_BASE_ERROR_H

#include <errno.h>

/* Codes start above every errno of Linux (4095 is the kernel's own limit). */
enum hf_error {
    HF_ERR_BASE = 5000,
    HF_ECORRUPT,  /* a checksum, chain or size does not fit: the bytes are not what was written */
    HF_EDAMAGED,  /* bytes once claimed durable are gone or bad; history is affected, see the report
                   */
    HF_EVERSION,  /* a format or protocol version that this build does not read */
    HF_ETOOBIG,   /* a declared length is over its named limit; nothing was allocated */
    HF_EPROTO,    /* the peer broke the protocol (wrong state, wrong order) */
    HF_EDIVERGED, /* both sides do not hold the same stream: digest, or position ahead of the other
                   */
    HF_EFENCED,   /* an older epoch or lease number than the one durably kept */
    HF_ENOPOINT,  /* no recovery point answers the request */
    HF_EAMBIGUOUS,  /* a time names more than one moment; the caller gets the candidates */
    HF_EPARTIAL,    /* the base image has not been completed yet: nothing can be opened */
    HF_EPRUNED,     /* the point lies below the oldest openable position */
    HF_ESYNC,       /* a sync failed before on this file; it takes no more writes */
    HF_EQUOTA,      /* a configured quota (overlay, journal) is full */
    HF_EIDENTITY,   /* the certificate's or machine's identity is not the expected one */
    HF_ECONFIG,     /* a configuration file is wrong; see the message and its line */
    HF_EBUSY_LEASE, /* a lease held by a reader forbids this step now */
    HF_ERR_END
};

/* One line of text for a code returned by any Holdfast call (sign is ignored). Static storage; any
 * thread. */
const char *hf_strerror(int error);

/* The stable symbolic name ("EIO", "HF_ECORRUPT"), for logs and JSON. Static storage; any thread.
 */
const char *hf_error_name(int error);

#endif
