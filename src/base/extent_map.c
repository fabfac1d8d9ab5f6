// SPDX-License-Identifier: Apache-2.0
/*
 * A treap ordered by offset: heap order by a number mixed from the offset, so that the shape
 * depends on the keys alone. Extents never overlap. Every change is the same: cut the tree in
 * three at the range's ends, trim what sticks out on either side, throw the middle away, join.
 *
 * Splits and joins are loops, not recursion: whoever chooses the offsets (a guest's writes) can
 * also choose ones that make the tree deep, and must not be able to exhaust the stack.
 *
 * Nodes come from slabs; a change first makes sure of the nodes it may need (two at most), so
 * running out of memory leaves the map as it was. 48 bytes an extent.
 */
#include "base/extent_map.h"

#include <errno.h>
#include <stdlib.h>

#include "base/base.h"

#define SLAB_NODES 128
#define CHANGE_NODES_MAX 2 /* the new extent, and the tail of one that it splits */

struct node {
    uint64_t offset;
    uint64_t length;
    uint64_t value;
    uint64_t value_offset;
    struct node *left;
    struct node *right; /* in the free list: the next */
};

struct slab {
    struct slab *next;
    struct node nodes[SLAB_NODES];
};

struct hf_extent_map {
    struct node *root;
    size_t count;
    struct node *free_nodes;
    size_t free_count;
    struct slab *slabs;
};

int hf_extent_map_new(struct hf_extent_map **ret_map)
{
    struct hf_extent_map *map = calloc(1, sizeof(*map));

    if (!map)
        return -ENOMEM;
    *ret_map = map;
    return 0;
}

void hf_extent_map_free(struct hf_extent_map *map)
{
    if (!map)
        return;
    while (map->slabs) {
        struct slab *slab = map->slabs;

        map->slabs = slab->next;
        free(slab);
    }
    free(map);
}

size_t hf_extent_map_count(const struct hf_extent_map *map)
{
    return map->count;
}

/* ---- Nodes ---- */

static void node_put(struct hf_extent_map *map, struct node *node)
{
    node->right = map->free_nodes;
    map->free_nodes = node;
    map->free_count++;
}

static int nodes_reserve(struct hf_extent_map *map)
{
    struct slab *slab;

    if (map->free_count >= CHANGE_NODES_MAX)
        return 0;
    slab = malloc(sizeof(*slab));
    if (!slab)
        return -ENOMEM;
    slab->next = map->slabs;
    map->slabs = slab;
    for (size_t i = 0; i < SLAB_NODES; i++)
        node_put(map, &slab->nodes[SLAB_NODES - 1 - i]);
    return 0;
}

static struct node *node_take(struct hf_extent_map *map, const struct hf_extent *extent)
{
    struct node *node = map->free_nodes;

    HF_ASSERT(node);
    map->free_nodes = node->right;
    map->free_count--;
    map->count++;
    *node = (struct node){.offset = extent->offset,
                          .length = extent->length,
                          .value = extent->value,
                          .value_offset = extent->value_offset};
    return node;
}

static uint64_t node_end(const struct node *node)
{
    return node->offset + node->length;
}

/* The finalizer of MurmurHash3: a permutation, so two nodes never tie. */
static uint64_t node_priority(const struct node *node)
{
    uint64_t x = node->offset;

    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccd;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53;
    return x ^ (x >> 33);
}

/* ---- Trees ---- */

/* Nodes that begin before `offset` go left, the others right. */
static void tree_split(struct node *tree, uint64_t offset, struct node **ret_left,
                       struct node **ret_right)
{
    while (tree) {
        if (tree->offset < offset) {
            *ret_left = tree;
            ret_left = &tree->right;
            tree = tree->right;
        } else {
            *ret_right = tree;
            ret_right = &tree->left;
            tree = tree->left;
        }
    }
    *ret_left = NULL;
    *ret_right = NULL;
}

/* All of `left` begins before all of `right`. */
static struct node *tree_join(struct node *left, struct node *right)
{
    struct node *root = NULL, **link = &root;

    while (left && right) {
        if (node_priority(left) > node_priority(right)) {
            *link = left;
            link = &left->right;
            left = left->right;
        } else {
            *link = right;
            link = &right->left;
            right = right->left;
        }
    }
    *link = left ? left : right;
    return root;
}

static struct node *tree_last(struct node *tree)
{
    while (tree && tree->right)
        tree = tree->right;
    return tree;
}

/* Turns left links into right ones until the top has none, then takes the top off: linear, without
 * a stack. */
static void tree_put(struct hf_extent_map *map, struct node *tree)
{
    while (tree) {
        struct node *next = tree->left;

        if (next) {
            tree->left = next->right;
            next->right = tree;
        } else {
            next = tree->right;
            node_put(map, tree);
            map->count--;
        }
        tree = next;
    }
}

/* Returns what of the last extent of `tree` lies behind `end` as a tree of one, or NULL. The
 * extent itself keeps its length. */
static struct node *tree_tail(struct hf_extent_map *map, struct node *tree, uint64_t end)
{
    struct node *last = tree_last(tree);

    if (!last || node_end(last) <= end)
        return NULL;
    return node_take(
        map, &(struct hf_extent){.offset = end,
                                 .length = node_end(last) - end,
                                 .value = last->value,
                                 .value_offset = last->value_offset + (end - last->offset)});
}

/* Takes [offset, end) out; what was before and behind it comes back as two trees. */
static void map_cut(struct hf_extent_map *map, uint64_t offset, uint64_t end,
                    struct node **ret_before, struct node **ret_behind)
{
    struct node *before, *middle, *behind, *rest, *tail, *last;

    tree_split(map->root, offset, &before, &rest);
    tree_split(rest, end, &middle, &behind);
    tail = tree_tail(map, middle ? middle : before, end);
    last = tree_last(before);
    if (last && node_end(last) > offset)
        last->length = offset - last->offset;
    tree_put(map, middle);
    *ret_before = before;
    *ret_behind = tree_join(tail, behind);
}

/* ---- Calls ---- */

static int change_prepare(struct hf_extent_map *map, uint64_t offset, uint64_t length,
                          uint64_t *ret_end)
{
    if (length == 0 || !hf_add_u64(offset, length, ret_end))
        return -EINVAL;
    return nodes_reserve(map);
}

int hf_extent_map_set(struct hf_extent_map *map, uint64_t offset, uint64_t length, uint64_t value)
{
    struct node *before, *behind, *node;
    uint64_t end;
    int error = change_prepare(map, offset, length, &end);

    if (error)
        return error;
    map_cut(map, offset, end, &before, &behind);
    node = node_take(map, &(struct hf_extent){.offset = offset, .length = length, .value = value});
    map->root = tree_join(tree_join(before, node), behind);
    return 0;
}

int hf_extent_map_remove(struct hf_extent_map *map, uint64_t offset, uint64_t length)
{
    struct node *before, *behind;
    uint64_t end;
    int error = change_prepare(map, offset, length, &end);

    if (error)
        return error;
    map_cut(map, offset, end, &before, &behind);
    map->root = tree_join(before, behind);
    return 0;
}

/* The lowest extent that ends after `offset`: extents do not overlap, so ends are ordered as
 * offsets are. */
static const struct node *map_seek(const struct hf_extent_map *map, uint64_t offset)
{
    const struct node *node = map->root, *found = NULL;

    while (node) {
        if (node_end(node) > offset) {
            found = node;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return found;
}

bool hf_extent_map_find(const struct hf_extent_map *map, uint64_t offset,
                        struct hf_extent *ret_extent)
{
    const struct node *node = map_seek(map, offset);
    uint64_t skip;

    if (!node)
        return false;
    skip = node->offset < offset ? offset - node->offset : 0;
    *ret_extent = (struct hf_extent){.offset = node->offset + skip,
                                     .length = node->length - skip,
                                     .value = node->value,
                                     .value_offset = node->value_offset + skip};
    return true;
}
