"""Throws packets that no kernel would send at a TUN device, the same ones for the same seed.

    bad_packets.py INTERFACE SEED NUMBER ADDRESS4 ADDRESS6
"""
import random
import socket
import struct
import sys

interface, seed, number, own4, own6 = sys.argv[1:6]
draw = random.Random(int(seed))
OWN = {4: socket.inet_pton(socket.AF_INET, own4), 6: socket.inet_pton(socket.AF_INET6, own6)}
FAR = {
    4: [socket.inet_pton(socket.AF_INET, a) for a in ("198.51.100.1", "198.51.100.2")],
    6: [socket.inet_pton(socket.AF_INET6, a) for a in ("2001:db8:2::1", "2001:db8:2::ffff")],
}
ODD = {
    4: [socket.inet_pton(socket.AF_INET, a)
        for a in ("0.0.0.0", "127.0.0.1", "255.255.255.255", "224.0.0.1", "240.0.0.1", own4)],
    6: [socket.inet_pton(socket.AF_INET6, a)
        for a in ("::", "::1", "ff02::1", "ff02::16", "fe80::1", "::ffff:198.51.100.1", own6)],
}
TCP, UDP = 6, 17
HOP, ROUTING, FRAGMENT, NONE, OPTIONS = 0, 43, 44, 59, 60


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def noise(longest):
    return draw.randbytes(draw.randrange(longest + 1))


def addresses(family):
    source = OWN[family] if draw.random() < 0.8 else draw.choice(ODD[family])
    target = draw.choice(FAR[family]) if draw.random() < 0.8 else draw.choice(ODD[family])
    return (target, target) if draw.random() < 0.05 else (source, target)


def sealed(family, ends, protocol, segment, at):
    """The segment with its checksum, which mostly is right."""
    if draw.random() < 0.1:
        return segment
    length = struct.pack("!I", len(segment))
    if family == 4:
        pseudo = ends[0] + ends[1] + struct.pack("!BBH", 0, protocol, len(segment))
    else:
        pseudo = ends[0] + ends[1] + length + struct.pack("!I", protocol)
    return segment[:at] + struct.pack("!H", checksum(pseudo + segment)) + segment[at + 2:]


def tcp(family, ends):
    options = draw.choice([
        b"", b"\2\4\5\xb4", b"\2\0", b"\2\1", b"\2\xff\0\0", b"\3\3\xff\0", b"\2\4\0\0",
        b"\5\2\1\1", b"\5\x0b" + b"\0" * 9 + b"\1", b"\x08\x0a" + b"\xff" * 8 + b"\1\1", noise(40),
    ])
    options += b"\0" * (-len(options) % 4)
    offset = 5 + len(options) // 4 if draw.random() < 0.8 else draw.randrange(16)
    flags = draw.choice([0, 1, 2, 4, 0x10, 0x12, 3, 6, 0x14, 0x18, 0x29, 0x3F, 0xFF])
    port = draw.choice([0, 80, 443, 65535, draw.randrange(65536)])
    segment = struct.pack(
        "!HHIIBBHHH", draw.randrange(65536), port, draw.getrandbits(32), draw.getrandbits(32),
        (offset & 15) << 4, flags, draw.randrange(65536), 0, draw.randrange(65536))
    return sealed(family, ends, TCP, segment + options + noise(100), 16)


def udp(family, ends):
    body = noise(200)
    length = 8 + len(body) if draw.random() < 0.7 else draw.choice([0, 7, 8, 65535])
    port = draw.choice([0, 7, 53, draw.randrange(65536)])
    segment = struct.pack("!HHHH", draw.randrange(65536), port, length, 0) + body
    return sealed(family, ends, UDP, segment, 6)


def icmp(family, ends):
    kinds = [0, 3, 4, 5, 8, 11, 12, 13] if family == 4 else [1, 2, 3, 4, 128, 129, 133, 135, 143]
    quoted = packet(family, deep=False) if draw.random() < 0.5 else noise(60)
    kind = draw.choice(kinds) if draw.random() < 0.9 else draw.randrange(256)
    segment = struct.pack("!BBHI", kind, draw.randrange(16), 0, draw.getrandbits(32)) + quoted
    if family == 6:
        return sealed(family, ends, 58, segment, 2)
    return segment[:2] + struct.pack("!H", checksum(segment)) + segment[4:]


def transport(family, ends, deep):
    makers = [(TCP, tcp), (UDP, udp), (None, None)]
    if deep:
        makers.append((1 if family == 4 else 58, icmp))
    protocol, make = draw.choice(makers)
    if make is None:
        return draw.randrange(256), noise(60)
    return protocol, make(family, ends)


def packet4(ends, protocol, body):
    options = b"" if draw.random() < 0.8 else noise(40)
    options += b"\0" * (-len(options) % 4)
    words = 5 + len(options) // 4 if draw.random() < 0.9 else draw.randrange(16)
    total = 20 + len(options) + len(body)
    if draw.random() < 0.1:
        total = draw.choice([0, 19, 20, total + 1, total - 1, 65535])
    fragment = draw.choice([0, 0, 0, 0x4000, 0x2000, 0x2001, 0x1FFF, draw.randrange(65536)])
    version = 0x40 if draw.random() < 0.97 else draw.randrange(16) << 4
    head = struct.pack(
        "!BBHHHBBH4s4s", version | words & 15, draw.randrange(256), total & 0xFFFF,
        draw.randrange(4), fragment, draw.choice([0, 1, 64]), protocol, 0, *ends) + options
    if draw.random() < 0.9:
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return head + body


def extensions(protocol, body):
    """A chain of extension headers around it, of which some lie."""
    for _ in range(draw.choice([0, 0, 0, 1, 2, 30])):
        kind = draw.choice([HOP, ROUTING, FRAGMENT, OPTIONS, NONE])
        if kind == FRAGMENT:
            place = draw.choice([0, 1, 8, 0xFFF8, draw.randrange(65536)])
            body = struct.pack("!BBHI", protocol, 0, place, draw.randrange(4)) + body
        else:
            length = 0 if draw.random() < 0.7 else draw.randrange(256)
            body = struct.pack("!BB6s", protocol, length, draw.randbytes(6)) + body
        protocol = kind
    return protocol, body


def packet6(ends, protocol, body):
    protocol, body = extensions(protocol, body)
    length = len(body) if draw.random() < 0.9 else draw.choice([0, len(body) + 1, 65535])
    first = 0x60000000 if draw.random() < 0.97 else draw.getrandbits(32)
    return struct.pack("!IHBB16s16s", first, length, protocol, draw.choice([0, 1, 64]), *ends) + body


def packet(family, deep=True):
    ends = addresses(family)
    protocol, body = transport(family, ends, deep)
    return (packet4 if family == 4 else packet6)(ends, protocol, body)


def spoiled(data):
    """Cut short, longer, or with some bits turned."""
    data = bytearray(data)
    kind = draw.randrange(6)
    if kind == 0:
        del data[draw.randrange(1, len(data) + 1):]
    elif kind == 1:
        data += noise(100)
    elif kind == 2:
        for _ in range(draw.randrange(1, 9)):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind == 3:
        data = bytearray(draw.randbytes(draw.randrange(1, 120)))
    return bytes(data)


device = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sent = refused = 0
for _ in range(int(number)):
    family = draw.choice([4, 6])
    frame = spoiled(packet(family))[:1500]
    try:
        device.sendto(frame, (interface, 0x0800 if family == 4 else 0x86DD))
        sent += 1
    except OSError:
        refused += 1
print(f"sent {sent} refused {refused}")
