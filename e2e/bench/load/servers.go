package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
)

func echo(answer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	answer.Header().Set("Content-Type", "application/json")
	_, _ = answer.Write(body)
}

// sink stands for whoever collects: spans go in, and only their number is kept.
type sink struct{ came atomic.Int64 }

func (s *sink) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	if request.Method == http.MethodGet {
		fmt.Fprint(answer, s.came.Load())
		return
	}
	_, _ = io.Copy(io.Discard, request.Body)
	s.came.Add(1)
	answer.Header().Set("Content-Type", "application/x-protobuf")
}

// reverseProxy is the bare thing, but with as many kept connections as there are callers: Go keeps 2 by default.
func reverseProxy(backend string) (http.Handler, error) {
	target, err := url.Parse(backend)
	if err != nil || target.Host == "" {
		return nil, fmt.Errorf("-backend: got %q, expected a URL", backend)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.MaxIdleConns = 256, 256
	transport.DisableCompression = true
	return &httputil.ReverseProxy{
		Rewrite:   func(request *httputil.ProxyRequest) { request.SetURL(target) },
		Transport: transport,
	}, nil
}

// The tool runner's protocol, as far as a tool needs it that is done at once: aion/api/toolcall.py.
type frame struct {
	T      string          `json:"t"`
	ID     int64           `json:"id"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

const (
	text, closing, ping, pong = 1, 8, 9, 10
	mostBytes                 = 4 << 20
)

func runner(answer http.ResponseWriter, request *http.Request) {
	if request.URL.Path != "/v1/calls" || request.Header.Get("Upgrade") != "websocket" {
		http.Error(answer, "expected a WebSocket to /v1/calls", http.StatusNotFound)
		return
	}
	socket, stream, err := http.NewResponseController(answer).Hijack()
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	defer socket.Close()
	accept := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(stream, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(accept[:]))
	for stream.Flush() == nil {
		for more := true; more; more = stream.Reader.Buffered() > 0 { // flush once for all that came together
			kind, payload, err := receive(stream.Reader)
			if err != nil || kind == closing {
				return
			}
			if kind == ping {
				send(stream.Writer, pong, payload)
			}
			var call frame
			if kind == text && json.Unmarshal(payload, &call) == nil && call.T == "invoke" {
				said, _ := json.Marshal(frame{T: "result", ID: call.ID, Result: call.Params})
				send(stream.Writer, text, said)
			}
		}
	}
}

func receive(from *bufio.Reader) (kind byte, payload []byte, err error) {
	var head [8]byte
	if _, err = io.ReadFull(from, head[:2]); err != nil {
		return 0, nil, err
	}
	if head[0]&0x80 == 0 || head[1]&0x80 == 0 {
		return 0, nil, fmt.Errorf("expected a whole, masked frame")
	}
	kind = head[0] & 15
	size := uint64(head[1] & 127)
	if size == 126 {
		_, err = io.ReadFull(from, head[:2])
		size = uint64(binary.BigEndian.Uint16(head[:2]))
	} else if size == 127 {
		_, err = io.ReadFull(from, head[:8])
		size = binary.BigEndian.Uint64(head[:8])
	}
	if err != nil || size > mostBytes {
		return 0, nil, fmt.Errorf("a frame of %d bytes: %v", size, err)
	}
	masked := make([]byte, 4+size)
	if _, err = io.ReadFull(from, masked); err != nil {
		return 0, nil, err
	}
	mask, payload := masked[:4], masked[4:]
	for at := range payload {
		payload[at] ^= mask[at&3]
	}
	return kind, payload, nil
}

func send(to *bufio.Writer, kind byte, payload []byte) {
	head := []byte{0x80 | kind}
	switch size := len(payload); {
	case size < 126:
		head = append(head, byte(size))
	case size < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(size))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(size))
	}
	_, _ = to.Write(head)
	_, _ = to.Write(payload)
}
