// SPDX-License-Identifier: Apache-2.0
/* hf-guest-sg-write DEVICE BLOCK: writes eight blocks of 512 bytes with a SCSI command of its own
 * (SG_IO), past everything that the block layer knows about writes. */
#include <errno.h>
#include <fcntl.h>
#include <scsi/sg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BLOCKS 8
#define COMMAND_TIMEOUT_MS 10000

int main(int argc, char **argv)
{
    static unsigned char data[BLOCKS * 512];
    unsigned long block = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    unsigned char write_10[10] = {0x2a,
                                  0,
                                  (unsigned char)(block >> 24),
                                  (unsigned char)(block >> 16),
                                  (unsigned char)(block >> 8),
                                  (unsigned char)block,
                                  0,
                                  0,
                                  BLOCKS,
                                  0};
    struct sg_io_hdr request = {.interface_id = 'S',
                                .dxfer_direction = SG_DXFER_TO_DEV,
                                .cmd_len = sizeof(write_10),
                                .cmdp = write_10,
                                .dxferp = data,
                                .dxfer_len = sizeof(data),
                                .timeout = COMMAND_TIMEOUT_MS};
    int fd = argc == 3 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;

    memset(data, 0x5a, sizeof(data));
    if (fd < 0 || ioctl(fd, SG_IO, &request) < 0 || request.status != 0) {
        fprintf(stderr, "SG_IO: %s, status %d\n", strerror(errno), request.status);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
