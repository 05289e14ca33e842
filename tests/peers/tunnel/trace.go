package tunnel

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/logging"
)

// newTracer tells what a connection agrees on, each PING, and how it ends.
func newTracer(context.Context, logging.Perspective, quic.ConnectionID) *logging.ConnectionTracer {
	var lastReceived atomic.Int64
	received := func(frames []logging.Frame) {
		lastReceived.Store(time.Now().UnixMilli())
		tellPings("peer", frames)
	}
	return &logging.ConnectionTracer{
		SentTransportParameters: func(p *logging.TransportParameters) {
			tellParameters("self", p)
		},
		ReceivedTransportParameters: func(p *logging.TransportParameters) {
			tellParameters("peer", p)
		},
		ChoseALPN: func(protocol string) {
			Tell("alpn", Fields{"protocol": protocol})
		},
		ReceivedLongHeaderPacket: func(_ *logging.ExtendedHeader, _ logging.ByteCount,
			_ logging.ECN, _ []logging.Frame) {
			lastReceived.Store(time.Now().UnixMilli())
		},
		ReceivedShortHeaderPacket: func(_ *logging.ShortHeader, _ logging.ByteCount,
			_ logging.ECN, frames []logging.Frame) {
			received(frames)
		},
		SentShortHeaderPacket: func(_ *logging.ShortHeader, _ logging.ByteCount, _ logging.ECN,
			_ *logging.AckFrame, frames []logging.Frame) {
			tellPings("self", frames)
		},
		ClosedConnection: func(err error) {
			quiet := time.Now().UnixMilli() - lastReceived.Load()
			tellEnd(err, quiet)
		},
	}
}

func tellPings(from string, frames []logging.Frame) {
	for _, frame := range frames {
		if _, ok := frame.(*logging.PingFrame); ok {
			Tell("ping", Fields{"from": from})
		}
	}
}

func tellParameters(from string, p *logging.TransportParameters) {
	Tell("parameters", Fields{
		"from":                                from,
		"max_idle_timeout":                    p.MaxIdleTimeout.Milliseconds(),
		"initial_max_data":                    p.InitialMaxData,
		"initial_max_stream_data_bidi_local":  p.InitialMaxStreamDataBidiLocal,
		"initial_max_stream_data_bidi_remote": p.InitialMaxStreamDataBidiRemote,
		"initial_max_stream_data_uni":         p.InitialMaxStreamDataUni,
		"initial_max_streams_bidi":            p.MaxBidiStreamNum,
		"initial_max_streams_uni":             p.MaxUniStreamNum,
		"ack_delay_exponent":                  p.AckDelayExponent,
		"max_ack_delay":                       p.MaxAckDelay.Milliseconds(),
		"active_connection_id_limit":          p.ActiveConnectionIDLimit,
		"max_udp_payload_size":                p.MaxUDPPayloadSize,
		"max_datagram_frame_size":             p.MaxDatagramFrameSize,
		"disable_active_migration":            p.DisableActiveMigration,
		"has_stateless_reset_token":           p.StatelessResetToken != nil,
	})
}

// tellEnd tells how a connection ended; quiet is how many milliseconds ago the last packet came.
func tellEnd(err error, quiet int64) {
	fields := Fields{"quiet_ms": quiet, "reason": err.Error()}
	var idle *quic.IdleTimeoutError
	var transport *quic.TransportError
	var application *quic.ApplicationError
	switch {
	case errors.As(err, &idle):
		fields["kind"] = "idle"
	case errors.As(err, &transport):
		fields["kind"] = "transport"
		fields["code"] = uint64(transport.ErrorCode)
		fields["by_peer"] = transport.Remote
	case errors.As(err, &application):
		fields["kind"] = "application"
		fields["code"] = uint64(application.ErrorCode)
		fields["by_peer"] = application.Remote
	default:
		fields["kind"] = "other"
	}
	Tell("closed", fields)
}
