/* stamp FILE TAG: the first thing it does is to read the clock; then it appends "TAG NANOSECONDS" to FILE. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (argc < 3) return 2;
    char line[160];
    int size = snprintf(line, sizeof line, "%s %lld\n", argv[2], (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    int fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT, 0644);
    return fd >= 0 && write(fd, line, size) == size ? 0 : 1;
}
