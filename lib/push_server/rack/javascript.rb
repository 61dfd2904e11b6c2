# frozen_string_literal: true

require "digest"

module PushServer
  # A Rack app that sends `push.js`, the library for the browser. It is an ES module. Mount it at any path. A browser caches
  # it, and asks each time whether it has changed. Frozen; any thread. The option `javascript` mounts it in front of an app.
  #
  # @example
  #   map("/push.js") { run PushServer::Javascript }
  module Javascript
    # The text of push.js.
    SOURCE = File.read(File.expand_path("../push.js", __dir__), encoding: Encoding::UTF_8).freeze
    # Its entity tag, RFC 9110 section 8.8.3.
    ETAG = %("#{Digest::SHA256.hexdigest(SOURCE)[0, 32]}").freeze

    VALIDATORS = { "etag" => ETAG, "cache-control" => "public, no-cache" }.freeze
    CONTENT = { "content-type" => "text/javascript; charset=utf-8", "content-length" => SOURCE.bytesize.to_s }.freeze
    private_constant :VALIDATORS, :CONTENT

    # Called by the server for each request. The path does not matter.
    def self.call(env)
      return [405, { "allow" => "GET, HEAD" }, []] unless %w[GET HEAD].include?(env["REQUEST_METHOD"])
      return [304, VALIDATORS.dup, []] if fresh?(env["HTTP_IF_NONE_MATCH"])

      [200, VALIDATORS.merge(CONTENT), env["REQUEST_METHOD"] == "HEAD" ? [] : [SOURCE]]
    end

    # An app that answers requests for this path with push.js, and passes all others on.
    # @param path [String] as it is in the request (percent-encoded)
    def self.at(path, app) = ->(env) { env["PATH_INFO"] == path ? call(env) : app.call(env) }

    # RFC 9110 section 13.1.2: a list of tags, compared weakly, or *.
    def self.fresh?(tags) = tags.to_s.split(",").any? { |tag| ["*", ETAG].include?(tag.strip.delete_prefix("W/")) }
    private_class_method :fresh?
  end

  # The source of push.js, an ES module, for apps that serve or bundle it in their own way.
  #
  # @return [String]
  def self.javascript = Javascript::SOURCE
end
