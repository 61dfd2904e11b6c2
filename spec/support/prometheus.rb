# frozen_string_literal: true

require "fileutils"
require "json"
require "net/http"
require "socket"
require "tmpdir"
require_relative "app_process"

# Prometheus as a child process, which scrapes an app with the configuration of docs/metrics.md.
class Prometheus
  PAGE = File.join(AppProcess::ROOT, "docs/metrics.md")

  # The version of the installed Prometheus; nil if there is none.
  def self.version
    output = IO.popen(%w[prometheus --version], err: %i[child out], &:read)
    output[/version (\S+)/, 1]
  rescue Errno::ENOENT
    nil
  end

  # A block of YAML in docs/metrics.md that begins so.
  def self.documented(beginning)
    File.read(PAGE).scan(/^```yaml\n(.*?)^```$/m).flatten.find { |block| block.start_with?(beginning) } or
      raise "docs/metrics.md has no block that begins with #{beginning}"
  end

  # Runs promtool with this input, in a file if `file` is given. Returns its output, and whether it is content.
  def self.tool(*words, input)
    Dir.mktmpdir("push_server-prometheus") do |folder|
      path = File.join(folder, "input.yml")
      File.write(path, input)
      words = words.map { |word| word == :file ? path : word }
      output = IO.popen(["promtool", *words], in: path, err: %i[child out], &:read)
      [output, $?.success?]
    end
  end

  # address: the Addrinfo of the metrics.
  def initialize(address)
    @port = Addrinfo.tcp("127.0.0.1", 0).bind { |socket| socket.local_address.ip_port }
    @dir = Dir.mktmpdir("push_server-prometheus")
    config = Prometheus.documented("scrape_configs:")
    { "127.0.0.1:9394" => address.inspect_sockaddr, "scrape_interval: 15s" => "scrape_interval: 200ms\n    scrape_timeout: 200ms" }
      .each { |old, new| config.sub!(old, new) or raise "docs/metrics.md does not say #{old.inspect}" }
    File.write(File.join(@dir, "prometheus.yml"), config)
    @pid = spawn("prometheus", "--config.file=#{@dir}/prometheus.yml", "--storage.tsdb.path=#{@dir}/data",
                 "--web.listen-address=127.0.0.1:#{@port}", "--log.level=error", pgroup: true, out: File::NULL, err: File::NULL)
  end

  # The answer to a query: an Array of Hashes, as the API has it. Raises if the query is not valid.
  def query(expression)
    response = Net::HTTP.get_response(URI("http://127.0.0.1:#{@port}/api/v1/query?#{URI.encode_www_form(query: expression)}"))
    raise "#{expression}: #{response.body}" unless response.is_a?(Net::HTTPSuccess)

    JSON.parse(response.body).fetch("data").fetch("result")
  end

  # The only value of a query; nil if there is none.
  def value(expression) = query(expression).first&.then { |result| Float(result.fetch("value").last) }

  def ready?
    Net::HTTP.get_response(URI("http://127.0.0.1:#{@port}/-/ready")).is_a?(Net::HTTPSuccess)
  rescue SystemCallError
    false
  end

  def stop
    Process.kill("KILL", @pid)
    Process.wait(@pid)
    FileUtils.remove_entry(@dir)
  end
end
