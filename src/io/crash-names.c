// SPDX-License-Identifier: Apache-2.0
/*
 * Names are held twice too: `directory` is what running code sees, `durable_directory` what is on
 * the platter, and between them the ordered list of changes. What survives a power cut is any
 * subset of that list that no file system could be blamed for: a change is kept only with those
 * it depends on. Dependencies (of `later` on `earlier`):
 *
 *  - both touch the same name of the same directory;
 *  - `later` moves something into a directory that `earlier` made: losing the directory alone
 *    would lose what was moved, and rename never loses a file;
 *  - `later` takes a directory away, and `earlier` took something out of it;
 *  - both move directories: no order of survival may tie them into a ring.
 *
 * A file made in a new directory does not depend on the directory: it is just not reachable until
 * the directory's own name is durable, which takes a sync of the parent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "io/crash-internal.h"

typedef struct hf_crash_name_change change_t;

/* ---- The list ---- */

static void slot_done(struct hf_crash_slot *slot)
{
    hf_mem_inode_unref(slot->directory);
    hf_mem_inode_unref(slot->inode);
    free(slot->name);
}

static void change_done(change_t *change)
{
    for (size_t i = 0; i < change->slot_count; i++)
        slot_done(&change->slots[i]);
    hf_mem_inode_unref(change->replaced);
}

static int slot_copy(const struct hf_crash_slot *slot, struct hf_crash_slot *ret_slot)
{
    char *name = strdup(slot->name);

    if (!name)
        return -ENOMEM;
    *ret_slot = (struct hf_crash_slot){
        .directory = hf_mem_inode_ref(slot->directory),
        .name = name,
        .inode = slot->inode ? hf_mem_inode_ref(slot->inode) : NULL,
    };
    return 0;
}

static int names_grow(struct hf_crash_names *names)
{
    size_t capacity = HF_MAX(names->capacity * 2, (size_t)16);
    change_t *changes = reallocarray(names->changes, capacity, sizeof(*changes));

    if (!changes)
        return -ENOMEM;
    names->changes = changes;
    names->capacity = capacity;
    return 0;
}

int hf_crash_names_add(struct hf_crash_names *names, enum hf_crash_name_kind kind,
                       const struct hf_crash_slot *slots, size_t slot_count,
                       struct hf_mem_inode *replaced)
{
    change_t change = {.kind = kind};

    HF_ASSERT(slot_count >= 1 && slot_count <= HF_ARRAY_COUNT(change.slots));
    if (names->count == names->capacity && names_grow(names) != 0)
        return -ENOMEM;
    for (; change.slot_count < slot_count; change.slot_count++) {
        if (slot_copy(&slots[change.slot_count], &change.slots[change.slot_count]) != 0) {
            change_done(&change);
            return -ENOMEM;
        }
    }
    change.replaced = replaced ? hf_mem_inode_ref(replaced) : NULL;
    names->changes[names->count++] = change;
    return 0;
}

void hf_crash_names_drop_last(struct hf_crash_names *names)
{
    HF_ASSERT(names->count > 0);
    change_done(&names->changes[--names->count]);
}

void hf_crash_names_clear(struct hf_crash_names *names)
{
    while (names->count > 0)
        hf_crash_names_drop_last(names);
    free(names->changes);
    *names = (struct hf_crash_names){0};
}

/* ---- Dependencies ---- */

static bool touches_directory(const change_t *change, const struct hf_mem_inode *directory)
{
    for (size_t i = 0; i < change->slot_count; i++)
        if (change->slots[i].directory == directory)
            return true;
    return false;
}

static bool share_slot(const change_t *a, const change_t *b)
{
    for (size_t i = 0; i < a->slot_count; i++)
        for (size_t j = 0; j < b->slot_count; j++)
            if (a->slots[i].directory == b->slots[j].directory &&
                strcmp(a->slots[i].name, b->slots[j].name) == 0)
                return true;
    return false;
}

/* The slot that something comes into. */
static const struct hf_crash_slot *target_slot(const change_t *change)
{
    return &change->slots[change->slot_count - 1];
}

static bool moves_directory(const change_t *change)
{
    return change->kind == HF_CRASH_RENAME && target_slot(change)->inode->is_directory;
}

static bool made_parent_of(const change_t *earlier, const change_t *later)
{
    return earlier->kind == HF_CRASH_MKDIR &&
           target_slot(earlier)->inode == target_slot(later)->directory;
}

/* `needs_parent`: `later` has to be reachable, so the directory it goes into must be there. */
static bool depends(const change_t *later, const change_t *earlier, bool needs_parent)
{
    if (share_slot(later, earlier))
        return true;
    if (needs_parent && made_parent_of(earlier, later))
        return true;
    if (later->replaced && touches_directory(earlier, later->replaced))
        return true;
    return moves_directory(later) && moves_directory(earlier);
}

/* ---- Making durable ---- */

/* What comes is put before what goes is removed: nothing is lost when memory runs out between. */
static int change_apply(const change_t *change)
{
    for (size_t i = 0; i < change->slot_count; i++) {
        const struct hf_crash_slot *slot = &change->slots[i];

        if (slot->inode &&
            hf_mem_directory_set(&slot->directory->durable_directory, slot->name, slot->inode) != 0)
            return -ENOMEM;
    }
    for (size_t i = 0; i < change->slot_count; i++)
        if (!change->slots[i].inode)
            hf_mem_directory_remove(&change->slots[i].directory->durable_directory,
                                    change->slots[i].name);
    return 0;
}

/* Applies the chosen changes in order and takes them off the list. */
static int apply_chosen(struct hf_crash_names *names, const bool *chosen)
{
    size_t kept = 0, i;
    int error = 0;

    for (i = 0; i < names->count; i++) {
        change_t change = names->changes[i];

        if (chosen[i] && !error)
            error = change_apply(&change);
        if (chosen[i] && !error)
            change_done(&change);
        else
            names->changes[kept++] = change;
    }
    names->count = kept;
    return error;
}

/* Whether a chosen change after `index` depends on it. Sets needs_parent[index] when that is
 * because the directory it makes must be reachable. */
static bool is_needed(const struct hf_crash_names *names, size_t index, const bool *chosen,
                      bool *needs_parent)
{
    const change_t *change = &names->changes[index];
    bool needed = false;

    for (size_t i = index + 1; i < names->count; i++) {
        if (!chosen[i] || !depends(&names->changes[i], change, needs_parent[i]))
            continue;
        needed = true;
        if (needs_parent[i] && made_parent_of(change, &names->changes[i]))
            needs_parent[index] = true;
    }
    return needed;
}

/* Dependencies point backwards only, so one pass from the newest change finds all of them. */
int hf_crash_names_sync(struct hf_crash_names *names, const struct hf_mem_inode *directory)
{
    bool *chosen = calloc(2 * names->count + 1, sizeof(*chosen));
    bool *needs_parent;
    int error;

    if (!chosen)
        return -ENOMEM;
    needs_parent = chosen + names->count;
    for (size_t i = names->count; i > 0; i--) {
        const change_t *change = &names->changes[i - 1];

        needs_parent[i - 1] = change->kind == HF_CRASH_RENAME;
        chosen[i - 1] =
            is_needed(names, i - 1, chosen, needs_parent) || touches_directory(change, directory);
    }
    error = apply_chosen(names, chosen);
    free(chosen);
    return error;
}

/* ---- Power cut ---- */

static bool depends_on_lost(const struct hf_crash_names *names, size_t index, const bool *chosen)
{
    const change_t *change = &names->changes[index];
    bool needs_parent = change->kind == HF_CRASH_RENAME || change->kind == HF_CRASH_MKDIR;

    for (size_t i = 0; i < index; i++)
        if (!chosen[i] && depends(change, &names->changes[i], needs_parent))
            return true;
    return false;
}

static void choose_random(const struct hf_crash_names *names, struct hf_crash_fate *fate,
                          bool *chosen)
{
    unsigned percent = hf_crash_percent(fate);

    for (size_t i = 0; i < names->count; i++)
        chosen[i] = hf_crash_chance(fate, percent) && !depends_on_lost(names, i, chosen);
}

int hf_crash_names_restart(struct hf_crash_names *names, struct hf_crash_fate *fate)
{
    bool *chosen = calloc(names->count + 1, sizeof(*chosen));
    int error;

    if (!chosen)
        return -ENOMEM;
    if (fate->survive == HF_CRASH_RANDOM)
        choose_random(names, fate, chosen);
    else
        memset(chosen, fate->survive != HF_CRASH_LOSE_ALL, names->count * sizeof(*chosen));
    error = apply_chosen(names, chosen);
    free(chosen);
    hf_crash_names_clear(names);
    return error;
}
