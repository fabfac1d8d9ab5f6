// SPDX-License-Identifier: Apache-2.0
/*
 * Calls that this project does not make: each writes without knowing the size of its target, hides
 * errors, or starts a shell. The build includes this file first in every C source of ours, so a
 * use fails to compile. The headers that declare the calls come first, or the macros would break
 * their declarations.
 */
#ifndef HF_BASE_BANNED_H
#define HF_BASE_BANNED_H

#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HF_BANNED(call) this_project_does_not_use_##call

#undef strcpy
#define strcpy(target, source) HF_BANNED(strcpy)
#undef strcat
#define strcat(target, source) HF_BANNED(strcat)
#undef strtok
#define strtok(text, delimiters) HF_BANNED(strtok)
#undef sprintf
#define sprintf(...) HF_BANNED(sprintf)
#undef vsprintf
#define vsprintf(target, format, arguments) HF_BANNED(vsprintf)
#undef gets
#define gets(target) HF_BANNED(gets)
#undef atoi
#define atoi(text) HF_BANNED(atoi)
#undef system
#define system(command) HF_BANNED(system)
#undef alloca
#define alloca(size) HF_BANNED(alloca)

#endif
