/*
 * sansbox: the C interface. Made from the sources of sansbox-ffi by a test; do not edit.
 *
 * Two doors:
 *   sansbox_plan_*, sansbox_session_*, sansbox_association_*, sansbox_machine_*
 *       machines for a loop of your own. They open no socket and read no clock: you tell them what
 *       happened and do what their actions say.
 *   sansbox_start, sansbox_stats, sansbox_bound, sansbox_log, sansbox_stop
 *       a whole proxy on threads of its own;
 *   sansbox_start_with_devices, sansbox_device, sansbox_set_device
 *       the same for TUN devices that the program has open.
 *
 * Handles are numbers and never 0. A handle that was freed, made up or of another kind gives
 * SANSBOX_STATUS_BAD_HANDLE and touches no memory. They stand in one table for the process, which
 * holds nothing else that is shared.
 *
 * Pointers belong to the caller and are used during the call only: nothing here keeps, frees or
 * hands out memory. A function writes through its pointers as its text says, which is nothing when
 * it fails, except for text buffers, and lengths with SANSBOX_STATUS_NO_SPACE. Buffers of one call
 * must not overlap. Null and misaligned pointers give a status; other bad pointers cannot be
 * found out.
 *
 * Any function may be called from any thread. Calls for one machine wait for each other; only
 * sansbox_start and sansbox_stop take long. There are no callbacks.
 *
 * A panic, which is a bug of the library, does not cross: in a library built with
 * `cargo build --profile library` it becomes SANSBOX_STATUS_PANICKED; one built with `--release`
 * ends the process instead.
 */


#ifndef SANSBOX_H
#define SANSBOX_H

#include <stddef.h>
#include <stdint.h>

// Longest domain name and its final zero.
#define SANSBOX_NAME_SIZE 256

// `sansbox_action.outbound` of a socket that faces the client.
#define SANSBOX_NO_OUTBOUND UINT32_MAX

// Longest name of a network interface that is given out, and its final zero.
#define SANSBOX_INTERFACE_SIZE 64

// Most actions that may wait to be polled before inputs are refused.
#define SANSBOX_ACTIONS_MAX 1024

// Longest datagram in bytes: what a UDP header can say.
#define SANSBOX_DATAGRAM_LEN_MAX 65535

// Most addresses of one answer.
#define SANSBOX_ADDRESSES_MAX 256

// Version of this interface. A program that was built with another first digit group (the number
// divided by 1000) than `sansbox_abi_version` returns must not go on: layouts or meanings differ.
// Within one, functions and constants are only added.
#define SANSBOX_ABI_VERSION 1001

// Bytes of a seed.
#define SANSBOX_SEED_SIZE 32

// How a call ended. Negative: nothing was changed by it, except where the text says otherwise.
enum sansbox_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done.
  SANSBOX_STATUS_OK = 0,
  // Done, and there is nothing to report: no action waits, no deadline is set.
  SANSBOX_STATUS_NONE = 1,
  // A pointer that must not be null is null.
  SANSBOX_STATUS_NULL_POINTER = -1,
  // The handle was never given out, was freed, or is of another kind.
  SANSBOX_STATUS_BAD_HANDLE = -2,
  // A number, constant, address or length is out of range.
  SANSBOX_STATUS_BAD_ARGUMENT = -3,
  // Text is not UTF-8.
  SANSBOX_STATUS_BAD_UTF8 = -4,
  // The configuration has errors; they were written to the text buffer.
  SANSBOX_STATUS_BAD_CONFIG = -5,
  // This cannot come now: the action is not waiting for an answer (it may have been cancelled,
  // then the socket is to be closed), the slot has ended already, or more than
  // `SANSBOX_ACTIONS_MAX` actions wait to be polled.
  SANSBOX_STATUS_BAD_ORDER = -6,
  // The machine has no such slot, or the slot is not of the kind that the call is for. A slot
  // may have been closed by an action that is not polled yet.
  SANSBOX_STATUS_BAD_SLOT = -7,
  // `now` is before an earlier `now` of the same machine.
  SANSBOX_STATUS_BAD_TIME = -8,
  // The buffer is too small; the length that is needed was written.
  SANSBOX_STATUS_NO_SPACE = -9,
  // Too many handles.
  SANSBOX_STATUS_LIMIT = -10,
  // A bug of this library was met. The object is of no use any more and should be freed; others
  // go on.
  SANSBOX_STATUS_PANICKED = -11,
  // The system refused sockets or threads; why was written to the text buffer.
  SANSBOX_STATUS_START_FAILED = -12,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sansbox_status sansbox_status;
#else
typedef int32_t sansbox_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a machine wants done.
enum sansbox_action_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // No action.
  SANSBOX_ACTION_KIND_NONE = 0,
  // Resolve `name` for `families`. Answer `id` with `sansbox_machine_resolved` or
  // `sansbox_machine_failed`.
  SANSBOX_ACTION_KIND_RESOLVE = 1,
  // Open a TCP connection to `address` with the socket options of `outbound`; it becomes
  // `slot`. Answer `id` with `sansbox_machine_connected` or `sansbox_machine_failed`.
  SANSBOX_ACTION_KIND_DIAL = 2,
  // Open a UDP socket bound to `address`, where port 0 lets the system choose; it becomes
  // `slot`. `outbound` may be `SANSBOX_NO_OUTBOUND`: then it faces the client. Answer as for
  // SANSBOX_ACTION_KIND_DIAL.
  SANSBOX_ACTION_KIND_BIND = 3,
  // The answer to `id` is no longer wanted; a connection on its way is to be dropped.
  SANSBOX_ACTION_KIND_CANCEL = 4,
  // Send the datagram, `data_len` bytes that were written to the data buffer, from UDP `slot`
  // to `address`.
  SANSBOX_ACTION_KIND_SEND = 5,
  // Close the socket of `slot`: with RST when `end` is `SANSBOX_END_RESET`. The slot is gone.
  SANSBOX_ACTION_KIND_CLOSE = 6,
  // From now on move the bytes between `slot` and `other` without this library, both ways;
  // forward a FIN as a FIN. Report with `sansbox_machine_relayed` and `sansbox_machine_ended`.
  // SANSBOX_ACTION_KIND_CLOSE ends it.
  SANSBOX_ACTION_KIND_PASSTHROUGH = 7,
  // `stage` was reached; `refusal` says why when it is `SANSBOX_STAGE_REFUSED`. Nothing needs
  // to be done.
  SANSBOX_ACTION_KIND_LOG = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sansbox_action_kind sansbox_action_kind;
#else
typedef uint32_t sansbox_action_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Which addresses of a name are wanted.
enum sansbox_families
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  SANSBOX_FAMILIES_ANY = 0,
  SANSBOX_FAMILIES_V4 = 1,
  SANSBOX_FAMILIES_V6 = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sansbox_families sansbox_families;
#else
typedef uint32_t sansbox_families;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a direction of a connection ended.
enum sansbox_end
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  SANSBOX_END_OPEN = 0,
  SANSBOX_END_FIN = 1,
  SANSBOX_END_RESET = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sansbox_end sansbox_end;
#else
typedef uint32_t sansbox_end;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a machine has reached.
enum sansbox_stage
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  SANSBOX_STAGE_NONE = 0,
  SANSBOX_STAGE_OPENED = 1,
  SANSBOX_STAGE_AUTH_FAILED = 2,
  SANSBOX_STAGE_ROUTED = 3,
  SANSBOX_STAGE_REFUSED = 4,
  SANSBOX_STAGE_CONNECTED = 5,
  SANSBOX_STAGE_CLOSED = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sansbox_stage sansbox_stage;
#else
typedef uint32_t sansbox_stage;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why a request was refused, and why a dial or a lookup failed.
enum sansbox_refusal
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  SANSBOX_REFUSAL_NONE = 0,
  SANSBOX_REFUSAL_CONNECTION_REFUSED = 1,
  SANSBOX_REFUSAL_NETWORK_UNREACHABLE = 2,
  SANSBOX_REFUSAL_HOST_UNREACHABLE = 3,
  SANSBOX_REFUSAL_NAME_NOT_FOUND = 4,
  SANSBOX_REFUSAL_RESOLVER_FAILED = 5,
  SANSBOX_REFUSAL_TIMED_OUT = 6,
  SANSBOX_REFUSAL_TTL_EXPIRED = 7,
  SANSBOX_REFUSAL_POLICY = 8,
  SANSBOX_REFUSAL_DROPPED = 9,
  SANSBOX_REFUSAL_COMMAND_UNSUPPORTED = 10,
  SANSBOX_REFUSAL_ADDRESS_UNSUPPORTED = 11,
  SANSBOX_REFUSAL_UPSTREAM_AUTH = 12,
  SANSBOX_REFUSAL_UPSTREAM_PROTOCOL = 13,
  SANSBOX_REFUSAL_LOOP = 14,
  SANSBOX_REFUSAL_EXHAUSTED = 15,
  SANSBOX_REFUSAL_GENERAL = 16,
  SANSBOX_REFUSAL_PRIVATE_ADDRESS = 17,
  SANSBOX_REFUSAL_PROHIBITED = 18,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sansbox_refusal sansbox_refusal;
#else
typedef uint32_t sansbox_refusal;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why a machine ended.
enum sansbox_close
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It runs.
  SANSBOX_CLOSE_NONE = 0,
  SANSBOX_CLOSE_COMPLETED = 1,
  SANSBOX_CLOSE_CLIENT_LEFT = 2,
  SANSBOX_CLOSE_CLIENT_RESET = 3,
  SANSBOX_CLOSE_UPSTREAM_RESET = 4,
  SANSBOX_CLOSE_HANDSHAKE_TIMEOUT = 5,
  SANSBOX_CLOSE_CLIENT_PROTOCOL = 6,
  SANSBOX_CLOSE_AUTH_FAILED = 7,
  SANSBOX_CLOSE_PUBLIC_SOURCE = 8,
  SANSBOX_CLOSE_REFUSED = 9,
  SANSBOX_CLOSE_IDLE_TIMEOUT = 10,
  SANSBOX_CLOSE_STOPPED = 11,
  // A reason that is newer than this interface.
  SANSBOX_CLOSE_OTHER = 12,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sansbox_close sansbox_close;
#else
typedef uint32_t sansbox_close;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// When a SYN that comes out of a TUN device is answered.
enum sansbox_handshake
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // At once.
  SANSBOX_HANDSHAKE_FAST = 1,
  // When the target is connected.
  SANSBOX_HANDSHAKE_CONSISTENT = 2,
  // When the target is connected, or when the rules need to see the first bytes.
  SANSBOX_HANDSHAKE_AUTO = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sansbox_handshake sansbox_handshake;
#else
typedef uint32_t sansbox_handshake;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What becomes of echo requests that come out of a TUN device.
enum sansbox_echo
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Nothing.
  SANSBOX_ECHO_OFF = 1,
  // They are answered here, for every address.
  SANSBOX_ECHO_REPLY = 2,
  // They are answered with unreachable, prohibited.
  SANSBOX_ECHO_REJECT = 3,
  // They are carried to their targets, where the rules lead to `direct` outbounds.
  SANSBOX_ECHO_RELAY = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sansbox_echo sansbox_echo;
#else
typedef uint32_t sansbox_echo;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// An IP address and a port. All zero: no address.
typedef struct {
  // The address in network byte order; the first 4 bytes for IPv4.
  uint8_t ip[16];
  // Scope of a link-local IPv6 address, else 0.
  uint32_t scope_id;
  // TCP or UDP port, in the byte order of the machine.
  uint16_t port;
  // 4, 6, or 0 for no address. Not `AF_INET` and the like.
  uint16_t family;
} sansbox_address;

// Options that a socket is to be opened with.
typedef struct {
  // Idle nanoseconds before the first keep-alive probe; 0: the system's choice.
  uint64_t keep_alive;
  // Nanoseconds between probes; 0: the system's choice.
  uint64_t keep_alive_interval;
  // `SO_MARK`, when `has_routing_mark` is not 0.
  uint32_t routing_mark;
  // Whether to set a mark.
  uint8_t has_routing_mark;
  // Whether to set `SO_REUSEADDR`.
  uint8_t reuse_addr;
  // Fragmentation of UDP: 0 the system's choice, 1 allow, 2 forbid.
  uint8_t udp_fragment;
  // Always 0.
  uint8_t reserved;
  // Interface to bind to, ending in a zero; empty: none.
  char bind_interface[SANSBOX_INTERFACE_SIZE];
} sansbox_socket_options;

// One inbound of a plan.
typedef struct {
  // Where to listen; port 0 lets the system choose.
  sansbox_address address;
  // Whether to listen for TCP connections: machines are made by `sansbox_session_new`.
  uint8_t tcp;
  // Whether to listen for datagrams: machines are made by `sansbox_association_new`, one for
  // each client address.
  uint8_t udp;
  // Always 0.
  uint8_t reserved[6];
  // How to open the listening sockets.
  sansbox_socket_options options;
} sansbox_inbound;

// How to open the sockets of one outbound.
typedef struct {
  // Source address for IPv4 with port 0; family 0: the system's choice.
  sansbox_address inet4_bind_address;
  // Source address for IPv6 with port 0; family 0: the system's choice.
  sansbox_address inet6_bind_address;
  // The other options.
  sansbox_socket_options options;
} sansbox_outbound;

// One action. Fields that its kind does not name are 0.
typedef struct {
  // What to do.
  sansbox_action_kind kind;
  // Number to answer with.
  uint32_t id;
  // The slot it is about.
  uint32_t slot;
  // The second slot of a passthrough.
  uint32_t other;
  // Whose socket options, or `SANSBOX_NO_OUTBOUND`.
  uint32_t outbound;
  // Which addresses.
  sansbox_families families;
  // How to close.
  sansbox_end end;
  // What was reached.
  sansbox_stage stage;
  // Why it was refused.
  sansbox_refusal refusal;
  // Bytes of the datagram.
  uint32_t data_len;
  // Where to.
  sansbox_address address;
  // The name to resolve, ending in a zero.
  char name[SANSBOX_NAME_SIZE];
} sansbox_action;

// What is known of a machine.
typedef struct {
  // Payload bytes from the client.
  uint64_t bytes_up;
  // Payload bytes to the client.
  uint64_t bytes_down;
  // Datagrams dropped.
  uint64_t dropped;
  // When it was made, as `now` was then.
  uint64_t opened;
  // Number for log lines, from the seed.
  uint32_t id;
  // The outbound in use, or `SANSBOX_NO_OUTBOUND`.
  uint32_t outbound;
  // Index of the rule that decided, or -1 for none.
  int32_t rule;
  // Why it ended; 0 while it runs.
  sansbox_close closed;
  // With `SANSBOX_CLOSE_REFUSED`: why.
  sansbox_refusal refusal;
  // 1 when nothing more will happen and the handle can be freed.
  uint32_t finished;
} sansbox_record;

// Totals of a running proxy since its start.
typedef struct {
  // Connections accepted.
  uint64_t accepted;
  // UDP clients served.
  uint64_t associations;
  // Sessions and associations that run now.
  uint64_t open;
  // Sessions and associations that ended.
  uint64_t ended;
  // Payload bytes from clients, of what ended.
  uint64_t bytes_up;
  // Payload bytes to clients, of what ended.
  uint64_t bytes_down;
  // Requests refused.
  uint64_t refused;
  // Outbound connections begun.
  uint64_t dials;
  // Lookups begun.
  uint64_t lookups;
  // Datagrams dropped.
  uint64_t dropped;
  // Sessions that were cut by `sansbox_stop`.
  uint64_t cut;
} sansbox_stats_totals;

// A listener that is bound.
typedef struct {
  // Where, with the port that the system chose.
  sansbox_address address;
  // Index of the inbound.
  uint32_t inbound;
  // 1: datagrams, 0: TCP connections.
  uint32_t udp;
} sansbox_bound_listener;

// A TUN device that is open already: named, addressed and routed into by whoever opened it.
typedef struct {
  // Index of the tun inbound that it is for. That may have neither `auto_route` nor
  // `interface_name`, nor another `mtu`; its `address` is to be that of the device.
  uint32_t inbound;
  // File descriptor of which each read and each write is a whole packet.
  int32_t fd;
  // Most bytes of a packet, from 1280.
  uint16_t mtu;
  // 1: every packet has a `virtio_net_hdr` of 10 bytes before it; 0: none has.
  uint8_t has_header;
  // Always 0.
  uint8_t reserved;
} sansbox_open_device;

// How a TUN device is served, as far as it can be changed while it is.
typedef struct {
  // `egress_mtu`: MTU of the way to the Internet in bytes, 576 to 65535.
  uint32_t egress_mtu;
  // `handshake_mode`: one of `sansbox_handshake`.
  uint32_t handshake_mode;
  // `icmp_echo`: one of `sansbox_echo`.
  uint32_t icmp_echo;
} sansbox_device_settings;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Version of the library's interface; compare with `SANSBOX_ABI_VERSION`.
uint32_t sansbox_abi_version(void);

// A few words about a status, for any number. The text is constant and never freed.
const char *sansbox_status_text(int32_t status);

// How many handles this process has not freed. For tests: a handle that is forgotten is no leak
// that a leak checker could see, because the table still knows it. Looks at all of them.
//
// Pointers:
// `count` is writable.
sansbox_status sansbox_handle_count(size_t *count);

// Reads `json_len` bytes of sing-box JSON at `json` and compiles them. `*plan` gets the handle.
// `log` and `sansbox` of the configuration concern a process and are not part of a plan. Files that
// it names (`profile_path`) are read now, relative to the working directory. Inbounds and outbounds
// of type `paniq` are refused: `sansbox_start` serves them.
//
// `text` gets, ending in a zero and cut to `text_len` bytes, what is wrong with the configuration
// (SANSBOX_STATUS_BAD_CONFIG, SANSBOX_STATUS_BAD_UTF8) or what should be changed in it; it may be
// null when `text_len` is 0. Machines keep their plan, so it can be freed before them.
//
// Pointers:
// `json` is readable for `json_len` bytes, `text` writable for `text_len`, `plan` writable; none
// overlap.
sansbox_status sansbox_plan_new(const char *json,
                                size_t json_len,
                                char *text,
                                size_t text_len,
                                uint64_t *plan);

// Frees a plan's handle. Machines that were made with it go on.
sansbox_status sansbox_plan_free(uint64_t plan);

// How many inbounds and outbounds a plan has. Their numbers begin at 0.
//
// Pointers:
// `inbounds` and `outbounds` are writable.
sansbox_status sansbox_plan_counts(uint64_t plan, uint32_t *inbounds, uint32_t *outbounds);

// Where and how an inbound listens.
//
// Pointers:
// `inbound` is writable.
sansbox_status sansbox_plan_inbound(uint64_t plan, uint32_t index, sansbox_inbound *inbound);

// How the sockets of an outbound are to be opened. A loop that cannot do what stands there
// answers a dial with `sansbox_machine_failed` rather than leave it out.
//
// Pointers:
// `outbound` is writable.
sansbox_status sansbox_plan_outbound(uint64_t plan, uint32_t index, sansbox_outbound *outbound);

// A machine for a connection that TCP inbound `inbound` accepted from `remote` on `local`. The
// connection is slot 0.
//
// `seed` points to SANSBOX_SEED_SIZE random bytes of its own: the same seed and inputs give the
// same outputs, and secrets may depend on it. `now` is nanoseconds on a clock that never goes
// back, and counts from wherever the caller likes.
//
// Pointers:
// `remote` and `local` are readable, `seed` is readable for SANSBOX_SEED_SIZE bytes, `machine` is
// writable.
sansbox_status sansbox_session_new(uint64_t plan,
                                   uint32_t inbound,
                                   const sansbox_address *remote,
                                   const sansbox_address *local,
                                   const uint8_t *seed,
                                   uint64_t now,
                                   uint64_t *machine);

// A machine for the client `remote` of UDP inbound `inbound`. The listening socket is slot 0;
// hand this client's datagrams to `sansbox_machine_datagram`, the first one included.
//
// Pointers:
// As for `sansbox_session_new`.
sansbox_status sansbox_association_new(uint64_t plan,
                                       uint32_t inbound,
                                       const sansbox_address *remote,
                                       const sansbox_address *local,
                                       const uint8_t *seed,
                                       uint64_t now,
                                       uint64_t *machine);

// Frees a machine, finished or not. Its sockets are the caller's to close.
sansbox_status sansbox_machine_free(uint64_t machine);

// The next thing to do, in order; SANSBOX_STATUS_NONE when there is nothing. Call it after every
// input until it returns that.
//
// `data` gets the datagram of a SANSBOX_ACTION_KIND_SEND. When `data_len` is too small for it,
// the status is SANSBOX_STATUS_NO_SPACE, `action->data_len` says what is needed, and the action
// stays. SANSBOX_DATAGRAM_LEN_MAX bytes are always enough; null and 0 are for machines that send
// no datagrams.
//
// Pointers:
// `action` is writable, `data` is writable for `data_len` bytes; they do not overlap.
sansbox_status sansbox_machine_poll_action(uint64_t machine,
                                           sansbox_action *action,
                                           uint8_t *data,
                                           size_t data_len);

// How many bytes stream `slot` may receive now. Do not read from the socket while it is 0.
//
// Pointers:
// `room` is writable.
sansbox_status sansbox_machine_room(uint64_t machine, uint32_t slot, size_t *room);

// Copies up to `data_len` bytes of what waits to be sent on stream `slot`. They stay until
// `sansbox_machine_drained`. `*len` gets how many were copied, `*waiting` how many wait. `*end`
// gets SANSBOX_END_FIN when nothing will follow them: once all are sent, shut down the
// socket for writing.
//
// Pointers:
// `data` is writable for `data_len` bytes, the others are writable; none overlap.
sansbox_status sansbox_machine_peek(uint64_t machine,
                                    uint32_t slot,
                                    uint8_t *data,
                                    size_t data_len,
                                    size_t *len,
                                    size_t *waiting,
                                    sansbox_end *end);

// When to call `sansbox_machine_tick` next, on the clock of `now`; SANSBOX_STATUS_NONE when no
// deadline is set. Ask again after every input.
//
// Pointers:
// `at` is writable.
sansbox_status sansbox_machine_deadline(uint64_t machine, uint64_t *at);

// What is known of a machine, and whether it is finished.
//
// Pointers:
// `record` is writable.
sansbox_status sansbox_machine_record(uint64_t machine, sansbox_record *record);

// The time is `now`; a deadline may have come. Harmless when none has.
sansbox_status sansbox_machine_tick(uint64_t machine, uint64_t now);

// Somebody wants the machine to end: it resets what is open.
sansbox_status sansbox_machine_stop(uint64_t machine, uint64_t now);

// `len` bytes came in on stream `slot`. The machine copies as many as it has room for and writes
// that number to `*taken`; the caller keeps the rest for later.
//
// Pointers:
// `data` is readable for `len` bytes, `taken` is writable; they do not overlap.
sansbox_status sansbox_machine_received(uint64_t machine,
                                        uint64_t now,
                                        uint32_t slot,
                                        const uint8_t *data,
                                        size_t len,
                                        size_t *taken);

// The socket of stream `slot` took the first `len` of the bytes that wait to be sent.
sansbox_status sansbox_machine_drained(uint64_t machine, uint64_t now, uint32_t slot, size_t len);

// The peer of stream `slot` ended its direction: SANSBOX_END_FIN behind the last byte, or
// SANSBOX_END_RESET when the socket is dead both ways. A failed read or write is a reset.
sansbox_status sansbox_machine_ended(uint64_t machine, uint64_t now, uint32_t slot, uint32_t end);

// A datagram of at most SANSBOX_DATAGRAM_LEN_MAX bytes came in on UDP `slot`.
//
// Pointers:
// `from` is readable, `data` is readable for `len` bytes.
sansbox_status sansbox_machine_datagram(uint64_t machine,
                                        uint64_t now,
                                        uint32_t slot,
                                        const sansbox_address *from,
                                        const uint8_t *data,
                                        size_t len);

// A SANSBOX_ACTION_KIND_RESOLVE found these addresses: at least one and at most
// SANSBOX_ADDRESSES_MAX, in the resolver's order. Their ports are not looked at.
//
// Pointers:
// `addresses` is readable for `count` addresses.
sansbox_status sansbox_machine_resolved(uint64_t machine,
                                        uint64_t now,
                                        uint32_t id,
                                        const sansbox_address *addresses,
                                        size_t count);

// A SANSBOX_ACTION_KIND_DIAL is connected, or a SANSBOX_ACTION_KIND_BIND bound: the slot lives.
// `local` is the socket's own address.
//
// Pointers:
// `local` is readable.
sansbox_status sansbox_machine_connected(uint64_t machine,
                                         uint64_t now,
                                         uint32_t id,
                                         const sansbox_address *local);

// A lookup, dial or bind failed; `why` is one of SANSBOX_REFUSAL_*.
sansbox_status sansbox_machine_failed(uint64_t machine, uint64_t now, uint32_t id, uint32_t why);

// In passthrough, the caller moved `bytes` more bytes that came from `slot`. To be told at the
// latest before a tick and before an end of that slot.
sansbox_status sansbox_machine_relayed(uint64_t machine,
                                       uint64_t now,
                                       uint32_t slot,
                                       uint64_t bytes);

// Starts the proxy that `json_len` bytes of sing-box JSON at `json` describe, and returns once it
// serves. `*instance` gets the handle, `text` what is wrong or should be changed, as for
// `sansbox_plan_new`.
//
// The threads block all signals. Nothing of the process is changed: no signal handler, no limit,
// no working directory. `log.output` is refused: lines are handed out by `sansbox_log`. Not to be
// used on both sides of a `fork`.
//
// Pointers:
// `json` is readable for `json_len` bytes, `text` writable for `text_len`, `instance` writable;
// none overlap.
sansbox_status sansbox_start(const char *json,
                             size_t json_len,
                             char *text,
                             size_t text_len,
                             uint64_t *instance);

// Closes the listeners, lets connections go on for `grace_ms` milliseconds, tells the rest to
// stop, and cuts what is left after `deadline_ms` more. Waits for all of that. The handle is bad
// as soon as this begins. `stats` gets the last totals; it may be null.
//
// Pointers:
// `stats` is null or writable.
sansbox_status sansbox_stop(uint64_t instance,
                            uint32_t grace_ms,
                            uint32_t deadline_ms,
                            sansbox_stats_totals *stats);

// Totals so far.
//
// Pointers:
// `stats` is writable.
sansbox_status sansbox_stats(uint64_t instance, sansbox_stats_totals *stats);

// The address of the listener with number `index`, from 0; SANSBOX_STATUS_NONE behind the last.
//
// Pointers:
// `bound` is writable.
sansbox_status sansbox_bound(uint64_t instance, uint32_t index, sansbox_bound_listener *bound);

// Takes the oldest log line, ending in a zero; SANSBOX_STATUS_NONE when there is none. `*len` gets
// its length without the zero. When it does not fit it stays, and the status is
// SANSBOX_STATUS_NO_SPACE. The last 1024 lines are kept, of the levels that `log.level` names;
// with `log.timestamp` each begins with seconds since 1970.
//
// Pointers:
// `text` is writable for `text_len` bytes, `len` is writable; they do not overlap.
sansbox_status sansbox_log(uint64_t instance, char *text, size_t text_len, size_t *len);

// As `sansbox_start`, with `devices_len` TUN devices at `devices` for as many tun inbounds; the
// library opens those of other tun inbounds itself, which needs rights. One of these needs none:
// nothing is named, addressed or routed.
//
// The descriptors stay the caller's: the library makes duplicates, and closes those when it
// stops, or when it does not start. Close yours whenever you like; a device is gone when all are
// closed. `O_NONBLOCK` is set, which duplicates share. A socket of type `SOCK_SEQPACKET` or
// `SOCK_DGRAM` will do for a device.
//
// SANSBOX_STATUS_BAD_ARGUMENT: a descriptor is not open, an index or a number is out of range.
// SANSBOX_STATUS_START_FAILED: a device is not possible for its inbound; the text says why. When
// the other end of a socket is closed later, its connections end, a log line says so, and the rest
// goes on; stop when the system says that it takes a device away.
//
// Pointers:
// As for `sansbox_start`; `devices` is readable for `devices_len` items.
sansbox_status sansbox_start_with_devices(const char *json,
                                          size_t json_len,
                                          const sansbox_open_device *devices,
                                          size_t devices_len,
                                          char *text,
                                          size_t text_len,
                                          uint64_t *instance);

// How the device of the tun inbound with number `inbound` is served;
// SANSBOX_STATUS_BAD_ARGUMENT when that is none.
//
// Pointers:
// `settings` is writable.
sansbox_status sansbox_device(uint64_t instance,
                              uint32_t inbound,
                              sansbox_device_settings *settings);

// Serves the device of the tun inbound with number `inbound` in another way, a moment later.
// Connections go on. SANSBOX_STATUS_BAD_ARGUMENT when it is none, or for settings that cannot be.
//
// Pointers:
// `settings` is readable.
sansbox_status sansbox_set_device(uint64_t instance,
                                  uint32_t inbound,
                                  const sansbox_device_settings *settings);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SANSBOX_H */
