package api

import (
	"container/list"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"

	"weir/internal/problem"
)

// Limits bounds what one client, and all of them, can make the platform do. A zero field means its default.
type Limits struct {
	Body           int64         // bytes of a request; default 512 KiB, which holds a query of 64 KiB however it is escaped
	Upload         int64         // bytes of a data set; default 4 GiB
	UploadIdle     time.Duration // after which an upload that stands still is given up; default 30 s
	PerAddress     rate.Limit    // requests a second from one address; default 50
	AddressBurst   int           // default 100
	PerAccount     rate.Limit    // requests a second of one account; default 20
	AccountBurst   int           // default 60
	Remembered     int           // addresses, and accounts, that are remembered at once; default 65 536
	Streams        int           // event streams at once; default 256
	AccountStream  int           // event streams of one account at once; default 8
	StreamLife     time.Duration // after which a client must connect anew, and be verified anew; default 5 min
	Heartbeat      time.Duration // silence after which a stream says that it lives; default 15 s
	Explain        int           // explanations at once, each of which takes a process; others wait in turn; default twice the CPUs
	AccountExplain int           // explanations of one account at once; default half of them, one at least
	WaitExplain    int           // explanations of one account that may wait; default 8
	Uploads        int           // uploads at once; default 16
	AccountUpload  int           // uploads of one account at once; default 2
	Verify         int           // verifications of the whole log at once; others wait; default 1
}

func (l Limits) complete() Limits {
	or(&l.Body, 512<<10)
	or(&l.Upload, 4<<30)
	or(&l.UploadIdle, 30*time.Second)
	or(&l.PerAddress, 50)
	or(&l.AddressBurst, 100)
	or(&l.PerAccount, 20)
	or(&l.AccountBurst, 60)
	or(&l.Remembered, 1<<16)
	or(&l.Streams, 256)
	or(&l.AccountStream, 8)
	or(&l.StreamLife, 5*time.Minute)
	or(&l.Heartbeat, 15*time.Second)
	or(&l.Explain, 2*runtime.NumCPU())
	or(&l.AccountExplain, max(1, l.Explain/2))
	or(&l.WaitExplain, 8)
	or(&l.Uploads, 16)
	or(&l.AccountUpload, 2)
	or(&l.Verify, 1)
	return l
}

func or[T comparable](field *T, otherwise T) {
	var zero T
	if *field == zero {
		*field = otherwise
	}
}

// buckets limits the rate of each of many clients. It forgets the one that it has not seen for the longest when it
// is full, so that nobody can fill the memory by coming from many addresses.
type buckets struct {
	mu    sync.Mutex
	limit rate.Limit
	burst int
	most  int
	byKey map[string]*list.Element // of bucket
	order *list.List               // the last seen first
}

type bucket struct {
	key     string
	limiter *rate.Limiter
}

func newBuckets(limit rate.Limit, burst, most int) *buckets {
	return &buckets{limit: limit, burst: burst, most: most, byKey: map[string]*list.Element{}, order: list.New()}
}

// take counts a request, or tells how long to wait until there is room for one.
func (b *buckets) take(key string, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.byKey[key]
	if e == nil {
		if b.order.Len() >= b.most {
			oldest := b.order.Back()
			delete(b.byKey, oldest.Value.(bucket).key)
			b.order.Remove(oldest)
		}
		e = b.order.PushFront(bucket{key, rate.NewLimiter(b.limit, b.burst)})
		b.byKey[key] = e
	}
	b.order.MoveToFront(e)
	reserved := e.Value.(bucket).limiter.ReserveN(now, 1)
	if wait = reserved.DelayFrom(now); wait > 0 {
		reserved.CancelAt(now)
	}
	return wait
}

// network is what counts as one address: an IPv4 address, or the /64 of an IPv6 address, which one household holds
// whole.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}

// proxies are the networks whose word on where a request comes from is believed.
type proxies []netip.Prefix

func newProxies(configured []string) (proxies, error) {
	var all proxies
	for _, text := range configured {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			address, notAddress := netip.ParseAddr(text)
			if notAddress != nil {
				return nil, fmt.Errorf("proxy %q: neither an address nor a range", text)
			}
			network = netip.PrefixFrom(address, address.BitLen())
		}
		all = append(all, network)
	}
	return all, nil
}

func (p proxies) has(address string) bool {
	a, err := netip.ParseAddr(address)
	a = a.Unmap()
	return err == nil && slices.ContainsFunc(p, func(n netip.Prefix) bool { return n.Contains(a) })
}

// turns bounds how many do something at once.
type turns chan struct{}

// take waits for a turn, or until ctx ends. done must be called.
func (t turns) take(ctx context.Context) (done func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, problem.New("api.busy").Because(ctx.Err())
	}
}

// places counts what is open for long: event streams, uploads, and of whom.
type places struct {
	mu       sync.Mutex
	most     int
	own      int
	all      int
	code     string // of the problem of an account that has too many
	accounts map[string]int
}

func newPlaces(most, own int, code string) *places {
	return &places{most: most, own: own, code: code, accounts: map[string]int{}}
}

// open takes a place, or refuses. leave gives it back.
func (s *places) open(account string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= s.most {
		return nil, problem.New("api.busy")
	}
	if s.accounts[account] >= s.own {
		return nil, problem.New(s.code)
	}
	s.all++
	s.accounts[account]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.accounts[account]--; s.accounts[account] == 0 {
			delete(s.accounts, account)
		}
	}, nil
}

// body is a request's body that may not be longer than a limit, and remembers whether it was.
type body struct {
	io.Closer
	limited io.Reader // http.MaxBytesReader
	over    bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.limited.Read(p)
	if _, tooLong := err.(*http.MaxBytesError); tooLong {
		b.over = true
	}
	return n, err
}

// limitAddress bounds the requests from one address, whoever they claim to be from.
func (s *server) limitAddress(c *gin.Context) {
	if wait := s.addresses.take(network(c.ClientIP()), time.Now()); wait > 0 {
		s.fail(c, problem.New("api.too-many-requests").After(wait))
	}
}

const bodyKey = "weir.body"

// limitBody bounds what is read of a request. Uploads have a limit of their own.
func (s *server) limitBody(c *gin.Context) {
	limit := s.Limits.Body
	if isUpload(c) {
		limit = s.Limits.Upload
	}
	if c.Request.ContentLength > limit {
		s.fail(c, problem.New("api.body-too-large"))
		return
	}
	if c.Request.Body == nil || c.Request.Body == http.NoBody {
		return
	}
	reader := http.MaxBytesReader(c.Writer, c.Request.Body, limit)
	bounded := &body{Closer: reader, limited: reader}
	c.Request.Body = bounded
	c.Set(bodyKey, bounded)
}

// overlong reports whether the client has sent more than it may.
func overlong(c *gin.Context) bool {
	bounded, ok := c.Value(bodyKey).(*body)
	return ok && bounded.over
}

func isUpload(c *gin.Context) bool {
	return c.Request.Method == http.MethodPost && c.FullPath() == "/api/v1/datasets"
}
