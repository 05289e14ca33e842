/*
 * A proxy for a TUN device that the program has open: start, change, stop. No rights are needed.
 *
 * A phone's system hands such a descriptor out (Android: VpnService.Builder.establish()). Here the
 * end of a socket pair stands in for it, and the program itself is what is behind the device: it
 * sends echo requests.
 *
 *   cargo build --profile library -p sansbox-ffi
 *   cc -I ffi/include ffi/examples/device.c target/library/libsansbox_ffi.a \
 *      -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc -o device && ./device
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sansbox.h"

static const char CONFIG[] =
    "{\"inbounds\": [{\"type\": \"tun\", \"address\": [\"172.19.0.1/30\"]}]}";

enum { IP = 20, ICMP = 8, DATA = 12, LEN = IP + ICMP + DATA };

static void check(sansbox_status status, const char *text) {
    if (status < 0) {
        fprintf(stderr, "%s\n%s\n", sansbox_status_text(status), text);
        exit(1);
    }
}

/* The Internet checksum of an even number of bytes. */
static void sum(const unsigned char *bytes, size_t len, unsigned char *to) {
    unsigned long total = 0;
    for (size_t i = 0; i < len; i += 2) total += (unsigned long)bytes[i] << 8 | bytes[i + 1];
    while (total >> 16) total = (total & 0xffff) + (total >> 16);
    to[0] = (unsigned char)(~total >> 8 & 0xff);
    to[1] = (unsigned char)(~total & 0xff);
}

/* Sends an echo request from 172.19.0.1 to 203.0.113.7; the type of what comes back. */
static int ping(int wire, unsigned char number) {
    unsigned char packet[LEN] = {0x45, 0, 0, LEN, 0, number, 0, 0, 64, 1,   0,   0,
                                 172,  19, 0, 1,  203, 0,     113, 7, 8, 0, 0, 0, 0, 7, 0, number};
    unsigned char answer[2048];
    memcpy(packet + IP + ICMP, "are you here", DATA);
    sum(packet, IP, packet + 10);
    sum(packet + IP, ICMP + DATA, packet + IP + 2);
    if (send(wire, packet, LEN, 0) != LEN) exit(1);
    if (recv(wire, answer, sizeof answer, 0) < IP + ICMP) exit(1);
    return answer[IP];
}

int main(void) {
    int pair[2], type;
    char text[4096];
    uint64_t proxy;
    sansbox_device_settings settings;
    sansbox_open_device device = {.inbound = 0, .mtu = 1500};

    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0) return 1;
    device.fd = pair[0];
    check(sansbox_start_with_devices(CONFIG, strlen(CONFIG), &device, 1, text, sizeof text, &proxy),
          text);
    close(pair[0]); /* the library has a duplicate */

    printf("answered with type %d\n", ping(pair[1], 1));

    check(sansbox_device(proxy, 0, &settings), "settings");
    settings.icmp_echo = SANSBOX_ECHO_REJECT;
    check(sansbox_set_device(proxy, 0, &settings), "other settings");
    for (unsigned char n = 2; (type = ping(pair[1], n)) == 0 && n < 250; n++) poll(NULL, 0, 1);
    printf("then with type %d\n", type);

    check(sansbox_stop(proxy, 0, 1000, NULL), "stop");
    /* The library's duplicate was the last one. */
    while (recv(pair[1], text, sizeof text, 0) > 0) continue;
    printf("gone\n");
    close(pair[1]);
    return 0;
}
