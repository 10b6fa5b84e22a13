package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Plan is one load: open loop where a rate is given, else closed.
type Plan struct {
	To, Path, BodyFile    string
	Expect                string   // in every right answer
	Headers               []string // `Name: value`, beside Host, Content-Type and Content-Length
	Connections           int
	Rate, Seconds, Warmup float64
}

// Result is what came of it. Latencies are microseconds from the moment a request was DUE: one that had to wait because
// the answers before it were slow has waited (no coordinated omission). Late is how late this program itself sent them.
type Result struct {
	Total   int     `json:"total"`   // all answers, the warm-up's too: what the server's CPU time was spent on
	Answers int     `json:"answers"` // those that count
	Unsent  int     `json:"unsent"`  // due, but no connection was free before the end
	Bad     int     `json:"bad"`     // not 200, or without what was expected
	Sample  string  `json:"sample"`  // the first bad answer, else the last good one
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50_us"`
	P90     float64 `json:"p90_us"`
	P99     float64 `json:"p99_us"`
	Max     float64 `json:"max_us"`
	LateP99 float64 `json:"late_p99_us"`
}

const drainTime = 5 * time.Second // answers that come later than this after the end never come

type connection struct {
	fd, have int
	busy     bool
	due      time.Duration
	buffer   []byte
}

// driver is one thread and one epoll, for a scheduler between the clock and the write would be measured with the rest.
type driver struct {
	plan        Plan
	began       time.Time
	request     []byte
	epoll       int
	connections []*connection
	latencies   []time.Duration
	late        []time.Duration
	sent        int // of the schedule
	result      Result
}

// Drive does what the plan says. An error means that there is no measurement.
func Drive(plan Plan) (Result, error) {
	d := &driver{plan: plan}
	if err := d.prepare(); err != nil {
		return Result{}, err
	}
	d.began = time.Now()
	end := seconds(plan.Warmup + plan.Seconds)
	events := make([]syscall.EpollEvent, 256)
	for {
		now := time.Since(d.began)
		if now >= end && (d.idle() || now >= end+drainTime) {
			break
		}
		if now < end {
			if err := d.dispatch(now); err != nil {
				return Result{}, err
			}
		}
		count, err := syscall.EpollWait(d.epoll, events, 100)
		if err != nil && err != syscall.EINTR {
			return Result{}, fmt.Errorf("epoll: %w", err)
		}
		for _, event := range events[:max(count, 0)] {
			if err := d.ready(int(event.Fd)); err != nil {
				return Result{}, err
			}
		}
	}
	return d.summary(), nil
}

func (d *driver) prepare() error {
	body, err := os.ReadFile(d.plan.BodyFile)
	if err != nil {
		return err
	}
	head := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n", d.plan.Path, host(d.plan.To))
	for _, header := range d.plan.Headers {
		head = fmt.Appendf(head, "%s\r\n", header)
	}
	d.request = fmt.Appendf(head, "Content-Length: %d\r\n\r\n%s", len(body), body)
	if d.epoll, err = syscall.EpollCreate1(0); err != nil {
		return err
	}
	for range d.plan.Connections {
		fd, err := dial(d.plan.To)
		if err != nil {
			return fmt.Errorf("%s: %w", d.plan.To, err)
		}
		d.connections = append(d.connections, &connection{fd: fd, buffer: make([]byte, 64<<10)})
		if err := d.watch(fd); err != nil {
			return err
		}
	}
	if d.plan.Rate > 0 {
		timer, err := ticker(seconds(1 / d.plan.Rate))
		if err != nil {
			return err
		}
		return d.watch(timer)
	}
	return nil
}

// dispatch sends what is due on connections that are free.
func (d *driver) dispatch(now time.Duration) error {
	for _, c := range d.connections {
		if c.busy {
			continue
		}
		due := now
		if d.plan.Rate > 0 {
			if due = seconds(float64(d.sent) / d.plan.Rate); due > now {
				return nil
			}
			d.sent++
			if due >= seconds(d.plan.Warmup) {
				d.late = append(d.late, now-due)
			}
		}
		c.busy, c.due, c.have = true, due, 0
		if n, err := syscall.Write(c.fd, d.request); err != nil || n != len(d.request) {
			return fmt.Errorf("sent %d of %d bytes: %v", n, len(d.request), err)
		}
	}
	return nil
}

// ready reads what came on a descriptor: an answer's bytes, or the timer's count.
func (d *driver) ready(fd int) error {
	at := slices.IndexFunc(d.connections, func(c *connection) bool { return c.fd == fd })
	if at < 0 {
		var count [8]byte
		_, _ = syscall.Read(fd, count[:])
		return nil
	}
	c := d.connections[at]
	n, err := syscall.Read(fd, c.buffer[c.have:])
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return nil
	}
	if err != nil || n == 0 {
		return fmt.Errorf("the server hung up after %d answers (%v)", d.result.Total, err)
	}
	c.have += n
	status, whole, err := parse(c.buffer[:c.have])
	if err != nil || !whole {
		return err
	}
	now := time.Since(d.began)
	c.busy = false
	d.result.Total++
	right := status == 200 && bytes.Contains(c.buffer[:c.have], []byte(d.plan.Expect))
	if !right && d.result.Bad == 0 || d.result.Bad == 0 && d.result.Sample == "" {
		d.result.Sample = string(c.buffer[:min(c.have, 2000)])
	}
	if !right {
		d.result.Bad++
	}
	// Open loop: every request that was due in the time counts, whenever its answer came. Closed: every answer in the time.
	start, end := seconds(d.plan.Warmup), seconds(d.plan.Warmup+d.plan.Seconds)
	if counts := c.due >= start && (d.plan.Rate > 0 || now <= end); counts {
		d.result.Answers++
		d.latencies = append(d.latencies, now-c.due)
	}
	if d.plan.Rate == 0 && now < end {
		return d.dispatch(now)
	}
	return nil
}

func (d *driver) idle() bool {
	return !slices.ContainsFunc(d.connections, func(c *connection) bool { return c.busy })
}

func (d *driver) summary() Result {
	r := d.result
	r.Seconds = d.plan.Seconds
	if d.plan.Rate > 0 {
		r.Unsent = max(0, int((d.plan.Warmup+d.plan.Seconds)*d.plan.Rate)-d.sent)
	}
	for _, c := range d.connections {
		if c.busy {
			r.Bad++
			r.Sample = "no answer"
		}
	}
	slices.Sort(d.latencies)
	slices.Sort(d.late)
	r.P50, r.P90, r.P99, r.Max = at(d.latencies, 0.5), at(d.latencies, 0.9), at(d.latencies, 0.99), at(d.latencies, 1)
	r.LateP99 = at(d.late, 0.99)
	return r
}

// parse says whether an answer is whole. Every server here sends Content-Length; another framing is an error, not a guess.
func parse(data []byte) (status int, whole bool, err error) {
	head := bytes.Index(data, []byte("\r\n\r\n"))
	if head < 0 {
		return 0, false, nil
	}
	lines := strings.Split(string(data[:head]), "\r\n")
	if _, err = fmt.Sscanf(lines[0], "HTTP/1.1 %d", &status); err != nil {
		return 0, false, fmt.Errorf("got %q, expected a status line", lines[0])
	}
	for _, line := range lines[1:] {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "content-length") {
			length, err := strconv.Atoi(strings.TrimSpace(value))
			return status, err == nil && len(data) >= head+4+length, err
		}
	}
	return 0, false, fmt.Errorf("an answer without Content-Length: %q", lines)
}

// host is what a client would say: some servers refuse a name that is not their own.
func host(to string) string {
	if kind, address, _ := strings.Cut(to, ":"); kind == "tcp" {
		return address
	}
	return "localhost"
}

func dial(to string) (int, error) {
	kind, address, _ := strings.Cut(to, ":")
	if kind == "unix" {
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return 0, err
		}
		if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: address}); err != nil {
			return 0, err
		}
		return fd, syscall.SetNonblock(fd, true)
	}
	peer, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return 0, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: peer.Port, Addr: [4]byte(peer.IP.To4())}); err != nil {
		return 0, err
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return 0, err
	}
	return fd, syscall.SetNonblock(fd, true)
}

// ticker is a timerfd: Go's own timers wait in whole milliseconds when a program is idle.
func ticker(every time.Duration) (int, error) {
	const monotonic = 1
	fd, _, errno := syscall.RawSyscall(syscall.SYS_TIMERFD_CREATE, monotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return 0, errno
	}
	spec := [2]syscall.Timespec{syscall.NsecToTimespec(int64(every)), syscall.NsecToTimespec(int64(every))}
	_, _, errno = syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}

func (d *driver) watch(fd int) error {
	return syscall.EpollCtl(d.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func at(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]) / 1000
}
