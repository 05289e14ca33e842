/* Sockets of IPv4 and the clock, as the programs here need them. */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "sansbox.h"

static void die(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void sys(int result, const char *what) {
    if (result < 0) die(what, strerror(errno));
}

static uint64_t now(void) {
    struct timespec time;
    sys(clock_gettime(CLOCK_MONOTONIC, &time), "clock");
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static sansbox_address address_of(const struct sockaddr_in *in) {
    sansbox_address address = {.family = 4, .port = ntohs(in->sin_port)};
    memcpy(address.ip, &in->sin_addr, 4);
    return address;
}

static sansbox_address own_address(int fd) {
    struct sockaddr_in in;
    socklen_t len = sizeof in;
    sys(getsockname(fd, (struct sockaddr *)&in, &len), "getsockname");
    return address_of(&in);
}

static int tcp_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sys(fd, "socket");
    return fd;
}

static int listen_on(sansbox_address address) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(address.port)};
    memcpy(&in.sin_addr, address.ip, 4);
    int fd = tcp_socket();
    sys(bind(fd, (struct sockaddr *)&in, sizeof in), "bind");
    sys(listen(fd, 8), "listen");
    return fd;
}

/* Begins to connect; 0, or what went wrong. */
static int connect_to(int fd, sansbox_address address) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(address.port)};
    memcpy(&in.sin_addr, address.ip, 4);
    if (connect(fd, (struct sockaddr *)&in, sizeof in) == 0 || errno == EINPROGRESS) return 0;
    return errno;
}

static uint32_t refusal_of(int error) {
    switch (error) {
    case ECONNREFUSED: return SANSBOX_REFUSAL_CONNECTION_REFUSED;
    case ENETUNREACH: return SANSBOX_REFUSAL_NETWORK_UNREACHABLE;
    case EHOSTUNREACH: return SANSBOX_REFUSAL_HOST_UNREACHABLE;
    case ETIMEDOUT: return SANSBOX_REFUSAL_TIMED_OUT;
    default: return SANSBOX_REFUSAL_GENERAL;
    }
}

#endif
