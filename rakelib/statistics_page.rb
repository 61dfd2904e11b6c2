# frozen_string_literal: true

require "push_server"

# docs/statistics.md, made from the one table of counters.
module StatisticsPage
  UNITS = { number: "", bytes: "bytes", microseconds: "µs" }.freeze
  PATH = File.expand_path("../docs/statistics.md", __dir__)

  HEAD = <<~MARKDOWN
    # Statistics

    `bin/run rake docs` writes this page from the table of counters in the code.

    Counting is always on, because one count costs only an addition. There are three ways to read the numbers:

    | | |
    |---|---|
    | `PushServer.stats` | a Hash of what the server in this process has counted since it was made. Empty without a server |
    | `PushServer.stats(:all)` | what all workers have counted, and each of them. Also in the leader |
    | `push_server stats` | the same, from outside; `--json` for programs |

    A call takes microseconds, waits for nobody, and is allowed in any thread.

    ```ruby
    stats = PushServer.stats
    stats[:open_websockets]                            # 1312
    stats[:queue_microseconds].fdiv(stats[:jobs])      # how long a job waits for a thread on average, in µs
    stats[:jobs].fdiv(stats[:batches])                 # how many jobs are done each time that Ruby's lock is taken
    ```

    ## Several processes

    Workers count in memory that all processes of the server share. So the numbers of a worker that is stuck can be read, too.

    ```ruby
    all = PushServer.stats(:all)
    all[:stats][:requests]                             # 481516: all workers together
    all[:histograms][:request_time_2xx]                # { count: 480001, sum: 912000000, buckets: { 100 => 12, 250 => 90, … } }
    all[:workers].map { |worker| worker.values_at(:number, :pid, :stats) }
    ```

    * A **counter** only grows. What a worker has counted stays in the sums when the worker has ended, however it ended, and over all
      restarts. Only if a restart brings a version of push_server that counts other things, all counters begin anew. The log says so.
    * A **gauge** says what is true now. The gauges of a worker end with it. `queued_bytes`, `spooled_bytes`, `channel_bytes`,
      `channels` and `readers` are up to a second old, if another process reads them.
    * A **maximum** is the highest number so far. In the sums, it is the highest one of all workers.
    * Three numbers belong to no worker, and are in the sums alone: `worker_restarts`, `hub_restarts`, and what jobs, consoles and the
      leader have published (`published`).
    * A channel that several workers know is in the `channels` of each of them, so the sum is more than the number of channels.

    During a restart, two workers have the same `number`: one that is new, and one that drains. Their `process` and `pid` differ.
    With one process, `workers` is empty, and a restart begins all numbers anew. Times are in microseconds.

    `push_server stats` prints the sums and a column for each worker, and then the histograms:

    ```
                                      all   worker 1   worker 2
                                           pid 25695  pid 25699
    connections                        17          8          9
    requests                           17          8          9
    …
    queue_time                  17 times, 0.1 ms on average, 99 % within 0.1 ms
    request_time_2xx            17 times, 0.7 ms on average, 99 % within 2.5 ms
    ```

    With `--json` it prints what `PushServer.stats(:all)` returns.

    ## Numbers

    Many counters say how often a limit was reached: [options](options.md).
  MARKDOWN

  HISTOGRAMS = <<~MARKDOWN
    ## Histograms

    Each says how many there were (`count`), how long all of them took together (`sum`), and how many took at most so long
    (`buckets`), from 100 µs to 10 s. What took longer is in `count` alone.
  MARKDOWN

  module_function

  def markdown
    native = PushServer.const_get(:NativeServer)
    numbers = native::STATISTICS.map { |name, row| [name, row[:kind], UNITS.fetch(row[:unit]), row[:doc]] }
    "#{HEAD}\n#{table(["", "kind", "unit", ""], numbers)}\n#{HISTOGRAMS}\n#{table(["", ""], native::HISTOGRAMS.to_a)}"
  end

  def table(titles, rows)
    lines = rows.map { |name, *cells| ["`#{name}`", *cells.map { |cell| cell.to_s.gsub("|", "\\|") }] }
    [titles, titles.map { "---" }, *lines].map { |cells| "| #{cells.join(" | ")} |\n" }.join.gsub("|  |", "| |")
  end
end
