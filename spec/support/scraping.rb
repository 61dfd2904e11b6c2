# frozen_string_literal: true

require_relative "http_client"

# Reads the metrics of the app under test, which was started with {METRICS}.
module Scraping
  # Options of a server with metrics on a free port.
  METRICS = %w[--metrics tcp://127.0.0.1:0].freeze
  # What Prometheus 2 sends.
  ACCEPT = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75," \
           "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

  # Where the app serves its metrics.
  def metrics_address
    place = app.wait_for_line(/\* Metrics on /)[/Metrics on (\S+)/, 1]
    path = place[%r{\Aunix://(.+)}, 1]
    path ? Addrinfo.unix(path) : Addrinfo.tcp(*place.match(%r{\Ahttp://\[?([\h.:]+?)\]?:(\d+)/metrics\z}).captures)
  end

  # A client that has sent nothing yet.
  def metrics_client(**options) = closing(HttpClient.new(metrics_address, **options))

  def scrape(path = "/metrics", headers = {}, method: "GET") = metrics_client.request(method, path, headers)

  # All samples: name with labels => number.
  def samples
    scrape.body.each_line(chomp: true).reject { |line| line.start_with?("#") }.to_h do |line|
      name, number = line.split(/ (?=\S+\z)/)
      [name, Float(number)]
    end
  end

  # The value of a sample, or the sum of those that differ in their labels.
  def sample(name)
    found = samples.select { |sample, _| sample == name || sample.start_with?("#{name}{") }
    raise "there is no #{name}" if found.empty?

    found.values.sum
  end
end
