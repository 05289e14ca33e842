/*
 * A whole proxy inside a program: start, stats, stop.
 *
 *   embedded [CONFIG.json]     runs it until a line or the end of standard input comes
 *
 *   cargo build --profile library -p sansbox-ffi
 *   cc -I ffi/include ffi/examples/embedded.c target/library/libsansbox_ffi.a \
 *      -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc -o embedded && ./embedded
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sansbox.h"

static const char DEFAULT[] =
    "{\"inbounds\": [{\"type\": \"mixed\", \"listen\": \"127.0.0.1\", \"listen_port\": 0}]}";

static char *read_file(const char *path, size_t *len) {
    static char text[1 << 20];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    *len = fread(text, 1, sizeof text, file);
    fclose(file);
    return text;
}

static void check(sansbox_status status, const char *text) {
    if (status < 0) {
        fprintf(stderr, "%s\n%s\n", sansbox_status_text(status), text);
        exit(1);
    }
}

int main(int count, char **arguments) {
    const char *json = DEFAULT;
    size_t json_len = strlen(DEFAULT), len;
    char text[4096];
    uint64_t proxy;
    sansbox_bound_listener bound;
    sansbox_stats_totals totals;

    if (count > 1) json = read_file(arguments[1], &json_len);
    check(sansbox_start(json, json_len, text, sizeof text, &proxy), text);
    for (uint32_t i = 0; sansbox_bound(proxy, i, &bound) == SANSBOX_STATUS_OK; i++)
        printf("inbound %u serves port %u\n", (unsigned)bound.inbound, bound.address.port);
    fflush(stdout);

    getchar();
    check(sansbox_stats(proxy, &totals), "stats");
    printf("%llu connections open\n", (unsigned long long)totals.open);
    check(sansbox_stop(proxy, 0, 1000, &totals), "stop");
    printf("%llu accepted, %llu ended, %llu bytes up, %llu bytes down\n",
           (unsigned long long)totals.accepted, (unsigned long long)totals.ended,
           (unsigned long long)totals.bytes_up, (unsigned long long)totals.bytes_down);
    if (sansbox_log(proxy, text, sizeof text, &len) != SANSBOX_STATUS_BAD_HANDLE) return 1;
    return 0;
}
