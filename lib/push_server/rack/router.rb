# frozen_string_literal: true

module PushServer
  # A Rack app that passes requests to handlers by method and path. One thread builds and freezes it; many call it.
  class Router
    Route = Struct.new(:verb, :pattern, :handler) do
      # Whether the method, and whether the path, are those of this route.
      def serves?(method) = verb.nil? || verb == method
      def match?(path) = pattern.is_a?(String) ? pattern == path : pattern.match?(path)
    end

    TEXT = { "content-type" => "text/plain; charset=utf-8" }.freeze
    WILDCARD = /\*+/
    private_constant :Route, :TEXT, :WILDCARD

    # The app that answers if no route matches the path; nil: a plain 404.
    attr_writer :not_found

    def initialize
      @routes = []
      @not_found = nil
    end

    # Adds a route; of two that match, the first added wins.
    # @param method [Symbol, String, nil] nil is any
    # @param pattern [String] a path as it is in the request (percent-encoded); `*` stands for one segment or a part of
    #   one, `**` at the end for the rest
    # @param handler [#call]
    # @raise [ArgumentError]
    def add(method, pattern, handler)
      unless handler.respond_to?(:call)
        hint = ": Agoo's on_request(request, response) is not called" if handler.respond_to?(:on_request)
        raise ArgumentError, "the handler of #{pattern} has no method call: #{handler.inspect[0, 60]}#{hint}"
      end

      @routes << Route.new(method&.to_s&.upcase, compile(pattern), handler).freeze
    end

    # No route can be added afterwards.
    def freeze
      @routes.freeze
      super
    end

    # Called by the server for each request.
    def call(env)
      method = env["REQUEST_METHOD"]
      path = env["PATH_INFO"]
      route = find(method, path)
      # RFC 9110 section 9.3.2: HEAD is GET without the content, which the server leaves out.
      route ||= find("GET", path) if method == "HEAD"
      return route.handler.call(env) if route

      allowed = allowed(path)
      return method_not_allowed(allowed) if allowed.any?

      @not_found ? @not_found.call(env) : [404, TEXT.dup, ["Not found: #{path}\n"]]
    end

    private

    # A loop without a block takes a third of the instructions of Array#find.
    def find(method, path)
      index = 0
      while (route = @routes[index])
        return route if route.serves?(method) && route.match?(path)

        index += 1
      end
    end

    def allowed(path)
      verbs = @routes.filter_map { |route| route.verb if route.match?(path) }.uniq
      verbs.include?("GET") ? verbs | ["HEAD"] : verbs
    end

    # RFC 9110 section 15.5.6
    def method_not_allowed(verbs)
      [405, TEXT.merge("allow" => verbs.join(", ")), ["Allowed here: #{verbs.join(", ")}\n"]]
    end

    # A String if the pattern has no wildcard, since comparing is quicker than matching; else a Regexp.
    def compile(pattern)
      pattern = String(pattern).dup.freeze
      wildcards = pattern.scan(WILDCARD)
      raise ArgumentError, "** stands for the rest of a path, so it ends a pattern: #{pattern}" if pattern.match?(/\*\*./)
      raise ArgumentError, "a pattern begins with / or *: #{pattern.inspect}" unless pattern.start_with?("/", "*")
      return pattern if wildcards.empty?

      source = pattern.split(/(\*+)/).map { |part| { "*" => "[^/]+", "**" => ".*" }.fetch(part) { Regexp.escape(part) } }
      Regexp.new("\\A#{source.join}\\z", Regexp::MULTILINE)
    end
  end
end
