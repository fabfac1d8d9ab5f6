// SPDX-License-Identifier: Apache-2.0
/*
 * What comes in. Every frame is decoded and verified once, before anything is kept; a captured
 * batch goes to the journal and then moves the state on, a pass's goes to the journal or straight
 * into base images. The end of a complete pass is only appended when everything of the pass is
 * durable: then its record in the journal, wherever it is read, proves that the pass is there.
 */
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "store/machine-internal.h"

#define SPACE_CHECK_BYTES (8 * HF_MIB)

static bool same_stream(const struct hf_stream_id *a, const struct hf_stream_id *b)
{
    return a->epoch == b->epoch && hf_id_equal(&a->capture, &b->capture);
}

static struct hf_stream_id stream_of(const struct hf_batch *batch)
{
    return (struct hf_stream_id){
        .epoch = hf_le64_get(batch->header->epoch),
        .capture = batch->header->capture,
    };
}

/* ---- Before: verify, room, end of pass ---- */

/* Room is asked for now and then; once it is short, each time. */
static int check_space(struct hf_machine *machine, size_t size)
{
    uint64_t refuse = machine->options.retention.free_bytes_refuse;
    uint64_t total, available;
    bool look;
    int r;

    pthread_mutex_lock(&machine->lock);
    machine->appended_since_space_check += size;
    look = machine->space == HF_SPACE_REFUSING ||
           machine->appended_since_space_check >= SPACE_CHECK_BYTES;
    if (look)
        machine->appended_since_space_check = 0;
    pthread_mutex_unlock(&machine->lock);
    if (!look || refuse == 0)
        return 0;
    r = hf_io_space(machine->store->io, &total, &available);
    if (r < 0)
        return 0; /* a file system that cannot tell says -ENOSPC itself */
    pthread_mutex_lock(&machine->lock);
    if (available < refuse)
        machine->space = HF_SPACE_REFUSING;
    else if (machine->space == HF_SPACE_REFUSING)
        machine->space = HF_SPACE_WARN;
    pthread_mutex_unlock(&machine->lock);
    return available < refuse ? -ENOSPC : 0;
}

static bool is_content(uint8_t type)
{
    return type == HF_RECORD_WRITE || type == HF_RECORD_ZERO || type == HF_RECORD_DISCARD;
}

/* A range that no disk has would make merging walk for ever. */
static bool is_on_a_disk(const struct hf_batch_record *record)
{
    uint64_t end;

    return hf_le16_get(record->disk) < HF_DISKS_MAX &&
           hf_add_u64(hf_le64_get(record->offset), hf_le64_get(record->length), &end) &&
           end <= HF_CONTENT_END_MAX;
}

static bool replaces_block(const struct hf_batch_record *record)
{
    return record->type == HF_RECORD_WRITE && hf_le64_get(record->length) == HF_NEWEST_BLOCK &&
           hf_le64_get(record->offset) % HF_NEWEST_BLOCK == 0;
}

static int verify(struct hf_machine *machine, const struct hf_batch *batch)
{
    for (uint32_t i = 0; i < batch->record_count; i++) {
        const struct hf_batch_record *record = &batch->records[i];
        uint16_t disk = hf_le16_get(record->disk);
        size_t length;
        int r;

        if (is_content(record->type) && !is_on_a_disk(record))
            return -HF_EPROTO;
        r = hf_batch_record_content(batch, i, machine->scratch, &length);
        if (r < 0)
            return r;
        if (replaces_block(record) && machine->pending_count < HF_PENDING_HASHES_MAX)
            machine->pending[machine->pending_count++] = (struct hf_pending_hash){
                i, hf_hash128(machine->scratch, length, machine->hash_secrets[disk])};
    }
    return 0;
}

/*
 * Hashes of the newest state follow what was appended, in its order, and only after it is in its
 * file: a hash that is computed meanwhile from what was there before is then made void. A pass is
 * older than what was captured since it began, so its hashes do not count.
 */
static void note_hashes(struct hf_machine *machine, const struct hf_batch *batch, bool newest)
{
    size_t next = 0;

    for (uint32_t i = 0; i < batch->record_count; i++) {
        const struct hf_batch_record *record = &batch->records[i];
        uint16_t disk = hf_le16_get(record->disk);
        uint64_t offset = hf_le64_get(record->offset);

        if (!is_content(record->type))
            continue;
        while (next < machine->pending_count && machine->pending[next].record < i)
            next++;
        if (newest && next < machine->pending_count && machine->pending[next].record == i)
            hf_newest_put(&machine->newest, disk, offset / HF_NEWEST_BLOCK,
                          &machine->pending[next].hash);
        else
            hf_newest_touch(&machine->newest, disk, offset, hf_le64_get(record->length));
    }
}

static int read_body(struct hf_machine *machine, const struct hf_batch *batch, uint32_t index,
                     size_t *ret_length)
{
    return hf_batch_record_content(batch, index, machine->scratch, ret_length);
}

/* Whether the record is of `type`, PASS_BEGIN or PASS_END, and what it says. */
static bool read_pass(struct hf_machine *machine, const struct hf_batch *batch, uint32_t index,
                      uint8_t type, struct hf_pass_body *ret_body)
{
    size_t length;

    if (batch->records[index].type != type || read_body(machine, batch, index, &length) < 0 ||
        length != sizeof(*ret_body))
        return false;
    memcpy(ret_body, machine->scratch, sizeof(*ret_body));
    return true;
}

static bool pass_is_here(struct hf_machine *machine, const struct hf_pass_body *end)
{
    struct hf_journal_progress progress;
    uint64_t pass = hf_le64_get(end->pass), batches = hf_le64_get(end->batches);

    hf_machine_appended(machine, &progress);
    return machine->state.pass.number == pass &&
           (batches == 0 || (progress.pass == pass && progress.pass_batch >= batches));
}

/* What a complete pass consists of is here, and durable, before its end is kept. */
static int settle_pass(struct hf_machine *machine, const struct hf_batch *batch)
{
    struct hf_pass_body body;
    uint64_t begun = 0; /* in this very batch: only a pass that found nothing to send ends in it */
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < batch->record_count; i++) {
        if (read_pass(machine, batch, i, HF_RECORD_PASS_BEGIN, &body))
            begun = hf_le64_get(body.pass);
        if (!read_pass(machine, batch, i, HF_RECORD_PASS_END, &body) ||
            !(hf_le16_get(body.flags) & HF_PASS_COMPLETE))
            continue;
        if (begun != 0 ? begun != hf_le64_get(body.pass) || hf_le64_get(body.batches) != 0
                       : !pass_is_here(machine, &body))
            return -HF_EPROTO;
        r = hf_machine_sync(machine);
    }
    return r;
}

/* ---- After: the state moves on ---- */

static void openable_before(struct hf_machine *machine, uint64_t position)
{
    pthread_mutex_lock(&machine->lock);
    if (machine->state.consistent && hf_state_any_complete(&machine->state))
        hf_retention_point(&machine->retention, position);
    pthread_mutex_unlock(&machine->lock);
}

static int size_changed(struct hf_machine *machine, const struct hf_state_event *event)
{
    struct hf_disk_body body;
    uint16_t disk;

    if (event->type != HF_RECORD_DISK || event->body_length != sizeof(body))
        return 0;
    memcpy(&body, event->body, sizeof(body));
    disk = hf_le16_get(body.disk);
    if (disk >= HF_DISKS_MAX || body.change == HF_DISK_REMOVE)
        return 0;
    hf_newest_size(&machine->newest, disk, hf_le64_get(body.size_bytes));
    return 0;
}

static int apply_record(struct hf_machine *machine, const struct hf_batch *batch, uint32_t index,
                        uint64_t base)
{
    const struct hf_batch_record *record = &batch->records[index];
    struct hf_state_event event = {
        .type = record->type,
        .seq_end = hf_le64_get(record->seq) + hf_le32_get(record->seq_size),
    };
    int r;

    if (is_content(record->type))
        return 0;
    event.position = base + event.seq_end;
    r = read_body(machine, batch, index, &event.body_length);
    if (r < 0)
        return r;
    event.body = machine->scratch;
    openable_before(machine, event.position - 1);
    pthread_mutex_lock(&machine->lock);
    if (hf_state_event(&machine->state, &event) < 0)
        hf_state_hole(&machine->state);
    pthread_mutex_unlock(&machine->lock);
    if (record->type == HF_RECORD_PASS_BEGIN)
        hf_direct_on_pass_begin(machine);
    return size_changed(machine, &event);
}

static int apply_captured(struct hf_machine *machine, const struct hf_batch *batch,
                          int64_t receipt_ns)
{
    struct hf_stream_id stream = stream_of(batch);
    struct hf_journal_progress progress;
    int r = 0;

    hf_journal_appended(machine->journal, &progress);
    pthread_mutex_lock(&machine->lock);
    hf_state_stream(&machine->state, &stream);
    pthread_mutex_unlock(&machine->lock);
    for (uint32_t i = 0; r == 0 && i < batch->record_count; i++)
        r = apply_record(machine, batch, i, progress.position - progress.seq);
    hf_retention_batch(&machine->retention, progress.position, receipt_ns);
    openable_before(machine, progress.position);
    return r;
}

static int append_captured(struct hf_machine *machine, const struct hf_batch *batch)
{
    int64_t receipt_ns = machine->store->clock->ops->wall_ns(machine->store->clock);
    struct hf_journal_progress progress;
    int r;

    hf_journal_appended(machine->journal, &progress);
    if (hf_le64_get(batch->header->seq_begin) == progress.seq) {
        r = settle_pass(machine, batch);
        if (r < 0)
            return r;
    }
    r = hf_journal_append(machine->journal, batch, receipt_ns);
    return r < 0 ? r : apply_captured(machine, batch, receipt_ns);
}

static int append_pass(struct hf_machine *machine, const struct hf_batch *batch)
{
    struct hf_stream_id stream = stream_of(batch);
    uint64_t pass = hf_le64_get(batch->header->pass);
    int64_t receipt_ns = machine->store->clock->ops->wall_ns(machine->store->clock);
    const struct hf_state_pass *newest = &machine->state.pass;
    int r;

    if (!same_stream(&stream, &machine->state.stream) || pass > newest->number)
        return -HF_EPROTO;
    if (pass < newest->number)
        return -EALREADY; /* of a pass that another one has replaced */
    if (hf_le64_get(batch->header->seq_begin) != newest->seq)
        return -HF_EPROTO;
    if (machine->direct.active)
        return hf_direct_append(machine, batch);
    if (!newest->open)
        return -EALREADY;
    /* the beginning is durable before the first batch: no cut leaves a pass that never began */
    if (hf_le64_get(batch->header->pass_batch) == 0) {
        r = hf_machine_sync(machine);
        if (r < 0)
            return r;
    }
    return hf_journal_append(machine->journal, batch, receipt_ns);
}

static int append_parsed(struct hf_machine *machine, const struct hf_batch *batch)
{
    int r = hf_machine_renew(machine);

    if (r == 0)
        r = check_space(machine, batch->size);
    if (r < 0)
        return r;
    machine->pending_count = 0;
    if (batch->header->lane == HF_LANE_CAPTURED || !machine->direct.active)
        r = verify(machine, batch); /* a direct pass verifies while it writes */
    if (r == 0 && batch->header->lane == HF_LANE_CAPTURED)
        r = append_captured(machine, batch);
    else if (r == 0)
        r = append_pass(machine, batch);
    /* a write that failed may take batches before it along, when its segment is rescued */
    if (r < 0 && r != -EALREADY && r != -HF_ECORRUPT && r != -HF_EPROTO && r != -HF_EDIVERGED)
        machine->stale = true;
    if (r != -HF_ECORRUPT)
        note_hashes(machine, batch, r == 0 && batch->header->lane == HF_LANE_CAPTURED);
    return r;
}

int hf_machine_append(struct hf_machine *machine, const void *data, size_t size)
{
    struct hf_batch batch;
    int r = hf_batch_parse(data, size, &batch);

    if (r < 0)
        return r;
    pthread_mutex_lock(&machine->append_lock);
    r = append_parsed(machine, &batch);
    pthread_mutex_unlock(&machine->append_lock);
    return r;
}

/* ---- Streams, syncing, progress ---- */

int hf_machine_stream_begin(struct hf_machine *machine, const struct hf_stream_id *stream)
{
    int r = 0;

    if (stream->epoch < hf_machine_epoch(machine))
        return -HF_EFENCED;
    if (stream->epoch > hf_machine_epoch(machine))
        r = hf_machine_epoch_raise(machine, stream->epoch);
    /* what another stream's first pass left in base images is compared with from now on */
    if (r == 0)
        r = hf_direct_sync(machine);
    if (r < 0)
        return r;
    pthread_mutex_lock(&machine->append_lock);
    r = hf_journal_stream_begin(machine->journal, stream);
    pthread_mutex_unlock(&machine->append_lock);
    return r;
}

int hf_machine_sync(struct hf_machine *machine)
{
    int r = hf_journal_sync(machine->journal);

    if (r < 0)
        machine->stale = true;
    return r < 0 ? r : hf_direct_sync(machine);
}

void hf_machine_durable(struct hf_machine *machine, struct hf_journal_progress *ret_progress)
{
    hf_journal_durable(machine->journal, ret_progress);
    hf_direct_override(machine, &machine->direct.durable, ret_progress);
}

void hf_machine_appended(struct hf_machine *machine, struct hf_journal_progress *ret_progress)
{
    hf_journal_appended(machine->journal, ret_progress);
    hf_direct_override(machine, &machine->direct.appended, ret_progress);
}
