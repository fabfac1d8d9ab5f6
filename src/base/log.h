// SPDX-License-Identifier: Apache-2.0
/*
 * Logging for programs (never called by libraries): one line a message on standard error, "LEVEL
 * component: text", or JSON lines; levels are set per component at run time
 * ("agent=debug,net=warn"). Any thread; writes are one write(2).
 */
#ifndef HF_BASE_LOG_H
#define HF_BASE_LOG_H

enum hf_log_level { HF_LOG_ERROR, HF_LOG_WARN, HF_LOG_INFO, HF_LOG_DEBUG };

struct hf_log_component {
    const char *name;
    int level;                     /* read without a lock: a plain int, set rarely */
    struct hf_log_component *next; /* registered on first use */
};

/* In each file that logs: static struct hf_log_component log = HF_LOG_COMPONENT("net"); */
#define HF_LOG_COMPONENT(name_)                                                                    \
    {                                                                                              \
        .name = (name_), .level = -1                                                               \
    }

/* Writes one line when the component's level lets it through. Any thread; may block on stderr. */
void hf_log_write(struct hf_log_component *component, enum hf_log_level level, const char *format,
                  ...) __attribute__((format(printf, 3, 4)));
#define hf_log_error(c, ...) hf_log_write((c), HF_LOG_ERROR, __VA_ARGS__)
#define hf_log_warn(c, ...) hf_log_write((c), HF_LOG_WARN, __VA_ARGS__)
#define hf_log_info(c, ...) hf_log_write((c), HF_LOG_INFO, __VA_ARGS__)
#define hf_log_debug(c, ...) hf_log_write((c), HF_LOG_DEBUG, __VA_ARGS__)

/* "info" or "info,net=debug,store=warn". -EINVAL on an unknown level. */
int hf_log_set_levels(const char *spec);
enum hf_log_format { HF_LOG_TEXT, HF_LOG_JSON };
void hf_log_set_format(enum hf_log_format format);

#endif
