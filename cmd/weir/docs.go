package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"weir/internal/problem"
)

type docsCommand struct {
	Errors docsErrorsCommand `cmd:"" help:"What a message means and what to do, by its code, with examples."`
}

type docsErrorsCommand struct {
	Code string `arg:"" optional:"" help:"Code of the message, such as guard.raw-rows; a list of all when left out."`
	To   string `placeholder:"DIR" help:"Write a page for each message into this folder."`
}

// Run prints a page, or writes all of them. They are made of the catalogues that the messages themselves are made of.
func (d *docsErrorsCommand) Run(t *terminal) error {
	pages := messagePages()
	if d.To != "" {
		for name, page := range pages {
			if err := os.WriteFile(filepath.Join(d.To, name), []byte(page), 0o644); err != nil {
				return problem.New("cli.no-file", "file", d.To).Because(err)
			}
		}
		return nil
	}
	name := messageIndex
	if d.Code != "" {
		name = pageOf(d.Code)
	}
	page, known := pages[name]
	if !known {
		return problem.New("cli.no-such-message")
	}
	_, err := fmt.Fprint(t.out, page)
	return err
}

// messageIndex is the page that lists all others.
const messageIndex = "README.md"

func pageOf(code string) string { return code + ".md" }

// messageRooms are the rooms in which messages arise, as a reader of the index meets them.
var messageRooms = []struct{ prefix, title, about string }{
	{"sql", "Reading the SQL · 解析 SQL", "The text is no SELECT that the engine can read, or names what is not there. · 文本不是可解析的 SELECT，或引用了不存在的名称。"},
	{"guard", "What may leave · 可以导出什么", `The guard read the query and refused it before any data was touched. Each page shows a query that gets the message and the nearest one that passes.
· 护栏读取查询后、在接触数据之前予以拒绝。每页都附有会得到该消息的查询，以及最接近的可以通过的写法。`},
	{"export", "The result · 结果", "The figures were computed, and something about them decides. · 数值已经算出，由其自身情况决定。"},
	{"policy", "Grants and roles · 授权与角色", "Who may ask what, for which scenario, and how much. · 谁可以为哪个场景查询什么、查询多少。"},
	{"gateway", "Jobs and the platform · 任务与平台", "What may become of a query on its way, and of what is submitted. · 查询及所提交内容在途中可能遇到的情况。"},
	{"sandbox", "Workers · 工作进程", "The processes that compute. · 执行计算的进程。"},
	{"intake", "Taking in data · 数据入库", "What may be wrong with a manifest or a file. · 清单或文件可能存在的问题。"},
	{"identity", "Signing in · 登录", "Accounts, passwords and sessions. · 账号、密码与会话。"},
	{"api", "HTTP · 接口", "How the platform is spoken to. · 与平台通信的方式。"},
	{"audit", "The log · 日志", "Entries, proofs and what may be erased. · 条目、证明，以及可以删除的内容。"},
	{"platform", "The machine · 运行环境", "What the platform lacks on its machine; for its maintainer. · 平台所在机器的问题，供运维处理。"},
	{"cli", "The command line · 命令行", "What the program itself has to say. · 程序本身的提示。"},
	{"internal", "Failures · 故障", "Nothing that a person did. · 并非由使用者造成。"},
}

// messagePages makes a page for each code and the index, by file name.
func messagePages() map[string]string {
	codes, entries := problem.Codes()
	pages := map[string]string{}
	var index strings.Builder
	index.WriteString(`# Messages · 消息

Every error that Weir shows a person has a code that stays the same, and a page here that says what was wrong and what to do instead. The same page is printed by
` + "`weir docs errors CODE`" + `. Over HTTP a problem document (RFC 9457) has the code in ` + "`code`" + ` and in ` + "`type`" + `, as ` + "`urn:weir:problem:CODE`" + `. Words in braces stand for names and limits. These pages are made
by ` + "`make docs`" + ` from the catalogues of the rooms.

每条报错都有固定的代码和一页说明；也可用 ` + "`weir docs errors 代码`" + ` 查看。花括号中的词代表名称或限值。

The examples ask of a data set like this one; tests run them. · 示例使用如下数据集，并由测试执行：

` + exampleData)
	rest := codes
	for _, room := range messageRooms {
		var listed, others []string
		for _, code := range rest {
			if room.prefix == code || strings.HasPrefix(code, room.prefix+".") {
				listed = append(listed, code)
			} else {
				others = append(others, code)
			}
		}
		if rest = others; len(listed) == 0 {
			continue
		}
		fmt.Fprintf(&index, "\n## %s\n\n%s\n\n| | | |\n|---|---|---|\n", room.title, room.about)
		for _, code := range listed {
			fmt.Fprintf(&index, "| [`%s`](%s) | %s | %s |\n", code, pageOf(code), entries[code].English.Title, entries[code].Chinese.Title)
			pages[pageOf(code)] = messagePage(code, entries[code])
		}
	}
	pages[messageIndex] = index.String()
	return pages
}

// exampleData describes the data set of the examples, which is the one that export/guard/testdata/schema.yaml declares.
const exampleData = "| column of `adult` | |\n|---|---|\n" +
	"| `pid` | the unit key: it names a person; one row a person · 主体键，每人一行 |\n" +
	"| `phone` | an identifier · 标识 |\n" +
	"| `age`, `born`, `sex`, `occupation`, `education`, `zip` | to filter and group by; `age` is a measure too · 用于过滤和分组；`age` 同时是度量 |\n" +
	"| `class`, `race`, `diagnosis`, `debt` | sensitive; `debt` is a measure too · 敏感；`debt` 同时是度量 |\n" +
	"| `hours_per_week`, `income` | measures · 度量 |\n" +
	"| `remarks` | free text · 自由文本 |\n" +
	"| `region` | open · 开放 |\n"

// messagePage is the page of one code, in both languages.
func messagePage(code string, e problem.Entry) string {
	var page strings.Builder
	fmt.Fprintf(&page, "# `%s`\n\n**%s · %s**\n", code, e.English.Title, e.Chinese.Title)
	fmt.Fprintf(&page, "\n**What happened.** %s\n\n**What to do.** %s\n", inFull(e.English.Detail), inFull(e.English.Help))
	fmt.Fprintf(&page, "\n**发生了什么。** %s\n\n**怎么办。** %s\n", inFull(e.Chinese.Detail), inFull(e.Chinese.Help))
	if e.Example != "" {
		page.WriteString("\n## Example · 示例\n\n")
		if e.Mode != "" {
			fmt.Fprintf(&page, "Under a grant of the mode `%s` · 在 `%s` 模式的授权下。\n\n", e.Mode, e.Mode)
		}
		fmt.Fprintf(&page, "This gets the message · 会得到此消息：\n\n```sql\n%s\n```\n", strings.TrimSpace(e.Example))
	}
	if e.Instead != "" {
		fmt.Fprintf(&page, "\nThis passes · 可以通过：\n\n```sql\n%s\n```\n", strings.TrimSpace(e.Instead))
	}
	fmt.Fprintf(&page, "\n---\n\nHTTP %d, `%s` · [All messages · 全部消息](%s)\n", e.Status, problem.Type(code), messageIndex)
	return page.String()
}

// inFull is a message with what is only said where its argument is known.
func inFull(message string) string { return strings.NewReplacer("[[", "", "]]", "").Replace(message) }
