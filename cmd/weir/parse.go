package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"weir/internal/problem"
)

// commentMark is put before an argument that begins as an SQL comment, so that the parser does not take it for a flag.
const commentMark = "\x00"

// withComments marks the arguments that are SQL and begin with a comment: no flag has a space in its name.
func withComments(args []string) []string {
	marked := make([]string, len(args))
	for i, a := range args {
		name, _, _ := strings.Cut(a, "=")
		if strings.HasPrefix(a, "--") && strings.ContainsAny(name, " \t\r\n") {
			a = commentMark + a
		}
		marked[i] = a
	}
	return marked
}

// said is what the parser says, and how it is said in Chinese. $1 is the first part of the first that is in parentheses.
type said struct {
	english *regexp.Regexp
	chinese string
}

func saying(english, chinese string) said { return said{regexp.MustCompile(english), chinese} }

// usageErrors are what the parser finds wrong with a command line. Parts of one sentence come later in the list than wholes.
var usageErrors = []said{
	saying(`^missing flags: (.*)$`, "缺少参数：$1"),
	saying(`^missing positional arguments (.*)$`, "缺少参数：$1"),
	saying(`^unexpected argument (.*?)(, did you mean (?:one of )?(.*)\?)?$`, "多余的参数：$1$2"),
	saying(`^unknown flag (.*?)(, did you mean (?:one of )?(.*)\?)?$`, "没有该参数：$1$2"),
	saying(`^expected one of (.*)$`, "需要下列之一：$1"),
	saying(`^unexpected flag argument (.*)$`, "该参数不带值：$1"),
	saying(`^(.*) must be one of (.*) but got (.*)$`, "$1 只能是 $2，不能是 $3"),
	saying(`^(.*): missing value.*$`, "$1：缺少值"),
	saying(`^(.*): expected (.*) value but got .*$`, "$1：缺少值"),
	saying(`^(.*): expected an? (?:valid \d+ bit )?u?int but got "?(.*?)"?(?: \(.*\))?$`, "$1：应为整数，不能是 $2"),
	saying(`^(.*): expected a float but got "?(.*?)"?(?: \(.*\))?$`, "$1：应为数字，不能是 $2"),
	saying(`^(.*): expected (?:bool|duration) but got "?(.*?)"?$`, "$1：值 $2 的格式不对"),
	saying(`^(.*): parsing time (".*?").*$`, "$1：应为日期（如 2026-11-30）或时间（如 2026-11-30T08:00:00+08:00），不能是 $2"),
	saying(`^(--\S+) and (--\S+) can't be used together$`, "$1 与 $2 不能同时使用"),
	saying(`^(.*): stat .*: no such file or directory$`, "$1：文件不存在"),
	saying(`^expected (.*)$`, "缺少参数：$1"),
	saying(`, did you mean one of (.*)\?$`, "；是否想写 $1 之一？"),
	saying(`, did you mean (.*)\?$`, "；是否想写 $1？"),
}

// usage is what is wrong with a command line, in the person's language.
func (t *terminal) usage(text string) string {
	if t.lang != problem.Chinese {
		return text
	}
	for _, s := range usageErrors {
		text = s.english.ReplaceAllString(text, s.chinese)
	}
	return text
}

// helpWords are the parser's own words in a help page.
var helpWords = []said{
	saying(`(?m)^Usage: `, "用法："),
	saying(`(?m)^Arguments:$`, "参数："),
	saying(`(?m)^Flags:$`, "选项："),
	saying(`(?m)^Commands:$`, "命令："),
	saying(`(?m)^Run "(.*?) <command> --help" for more information on a command\.$`, `运行“$1 <命令> --help”查看各命令的说明。`),
	saying(`(?m)^Run "(.*?) --help" for more information\.$`, `运行“$1 --help”查看更多说明。`),
	saying(`<command>`, "<命令>"),
	saying(`\[flags\]`, "[选项]"),
}

// printHelp prints a help page in the person's language.
func (t *terminal) printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	if t.lang != problem.Chinese {
		return kong.DefaultHelpPrinter(options, ctx)
	}
	var page bytes.Buffer
	out := ctx.Stdout
	ctx.Stdout = &page
	err := kong.DefaultHelpPrinter(options, ctx)
	ctx.Stdout = out
	text := page.String()
	for _, s := range helpWords {
		text = s.english.ReplaceAllString(text, s.chinese)
	}
	if _, wrong := out.Write([]byte(text)); err == nil {
		err = wrong
	}
	return err
}

// maxCause is how much of what went wrong inside a person is shown. A parser's words can quote a whole file.
const maxCause = 200

// cause is what went wrong beneath a problem, in one short line: what a parser shows of a file begins on the next.
func (t *terminal) cause(err error) string {
	for _, known := range causes {
		if known.is(err) && t.lang == problem.Chinese {
			var path *fs.PathError
			if errors.As(err, &path) {
				return path.Path + "：" + known.chinese
			}
			return known.chinese
		}
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	if t.lang == problem.Chinese {
		for _, s := range ownCauses {
			line = s.english.ReplaceAllString(line, s.chinese)
		}
	}
	if short := []rune(line); len(short) > maxCause {
		line = string(short[:maxCause]) + "…"
	}
	return line
}

// ownCauses are what this program itself says beneath a problem. A test finds those that are missing here.
var ownCauses = []said{
	saying(`the vault has keys, and the master key is missing`, "保险库中已有密钥，但缺少主密钥"),
	saying(`the file of the master key must be a plain file with mode 0600`, "主密钥文件须为普通文件，权限 0600"),
	saying(`(\S+) must be a plain file with mode 0600`, "$1 须为普通文件，权限 0600"),
	saying(`(\S+) holds no certificate`, "$1 中没有证书"),
	saying(`the answer is too large`, "应答过大"),
	saying(`^status (\d+)$`, "状态码 $1"),
	saying(`(\S+) does not hold 32 bytes in hex`, "$1 不是 32 字节的十六进制数"),
	saying(`the secret is missing`, "缺少该密钥"),
	saying(`(\S+) has no unit: write 90s, 10m or 2h`, "$1 没有单位：请写 90s、10m 或 2h"),
	saying(`(\S+) is no time with a unit: write 90s, 10m or 2h`, "$1 不是带单位的时间：请写 90s、10m 或 2h"),
	saying(`tls.cert and tls.key go together`, "tls.cert 与 tls.key 须同时给出"),
	saying(`vault.program: not an absolute path`, "vault.program：不是绝对路径"),
	saying(`url: not the address of a platform`, "url：不是平台的地址"),
	saying(`proxies: none beside an address`, "proxies：不能同时写 none 和地址"),
	saying(`grants.grace: less than zero`, "grants.grace：小于零"),
	saying(`jobs.operators: a name is missing or there twice`, "jobs.operators：名称缺失或重复"),
	saying(`the line is too long`, "该行过长"),
	saying(`the vault holds data but (\S+) is missing from the keys`, "保险库中有数据，但密钥中缺少 $1"),
	saying(`not a JSON file`, "不是 JSON 文件"),
	saying(`keys of an external provider`, "外部身份提供方的密钥"),
	saying(`data folder: `, "数据目录："),
	saying(`kept checkpoint: `, "留存的检查点："),
	saying(`job secret: `, "任务密钥："),
	saying(`^write: `, "写入："),
}

// causes are those that have a common name.
var causes = []struct {
	is      func(error) bool
	chinese string
}{
	{func(err error) bool { return errors.Is(err, fs.ErrNotExist) }, "文件不存在"},
	{func(err error) bool { return errors.Is(err, fs.ErrPermission) }, "没有权限"},
	{func(err error) bool { return errors.Is(err, syscall.EISDIR) }, "这是目录，不是文件"},
	{func(err error) bool { return errors.Is(err, syscall.ENOSPC) }, "磁盘已满"},
	{func(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }, "地址已被占用"},
	{func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }, "连接被拒绝"},
	{func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }, "连接被对方中断"},
	{func(err error) bool { var e *net.DNSError; return errors.As(err, &e) }, "找不到该主机"},
	{func(err error) bool {
		return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
	}, "等待超时"},
	{func(err error) bool { return errors.Is(err, context.Canceled) }, "已中断"},
}
