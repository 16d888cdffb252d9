// replay.c: runs a fuzz target over every file of a directory, without libFuzzer.
// Fails if the directory is missing or empty: a corpus that vanished is no pass.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static int
replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    fseek(file, 0, SEEK_END);
    size_t len = (size_t)ftell(file);
    rewind(file);
    // Exactly as large as the input, so that a sanitizer sees the first byte too far.
    uint8_t *bytes = malloc(len > 0 ? len : 1);
    size_t got = bytes != NULL ? fread(bytes, 1, len, file) : 0;
    fclose(file);
    if (got == len)
        LLVMFuzzerTestOneInput(bytes, len);
    free(bytes);
    return got == len ? 0 : -1;
}

int
main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    if (dir == NULL) {
        fprintf(stderr, "usage: %s CORPUS-DIRECTORY (which must exist)\n", argv[0]);
        return 64;
    }
    int count = 0;
    int failed = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        failed |= replay_file(path);
        count++;
    }
    closedir(dir);
    printf("%d inputs\n", count);
    return count > 0 && failed == 0 ? 0 : 1;
}
