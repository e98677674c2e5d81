# The way in, where there is one: TLS ends here, tasks behind it are asked whether they can serve.

locals {
  load_balancers = var.load_balancer == null ? {} : { this = var.load_balancer }
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_150:on unless a trial says otherwise; the check does not see through the object's default
  #checkov:skip=CKV_AWS_91:the programs write an access log of their own, with tenant and request; a second one would hold visitors' addresses without need
  #checkov:skip=CKV2_AWS_28:a firewall is a choice of the whole company; attach one to the ARN in the outputs
  for_each                   = local.load_balancers
  name                       = var.name
  load_balancer_type         = "application"
  internal                   = each.value.internal
  subnets                    = each.value.subnet_ids
  security_groups            = [aws_security_group.load_balancer[each.key].id]
  drop_invalid_header_fields = true
  enable_deletion_protection = each.value.deletion_protection
  # Longer than the heartbeat of event streams.
  idle_timeout = 120
  tags         = local.tags
}

resource "aws_lb_listener" "https" {
  for_each          = local.load_balancers
  load_balancer_arn = aws_lb.this[each.key].arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = each.value.certificate_arn
  tags              = local.tags
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[each.key].arn
  }
}

# Behind TLS the way is plain: a private network, and a security group that lets nobody else in.
resource "aws_lb_target_group" "this" {
  for_each             = local.load_balancers
  name                 = var.name
  port                 = var.port
  protocol             = "HTTP"
  target_type          = "ip"
  vpc_id               = var.vpc_id
  deregistration_delay = 20
  tags                 = local.tags
  health_check {
    path                = "/readyz"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_security_group" "load_balancer" {
  for_each    = local.load_balancers
  name_prefix = "${var.name}-lb-"
  description = "Load balancer of ${var.name}."
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-lb" })
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  for_each          = toset(var.load_balancer == null ? [] : var.load_balancer.allowed_cidrs)
  security_group_id = aws_security_group.load_balancer["this"].id
  description       = "TLS from ${each.key}"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "load_balancer" {
  for_each                     = local.load_balancers
  security_group_id            = aws_security_group.load_balancer[each.key].id
  description                  = "To the tasks"
  referenced_security_group_id = aws_security_group.task.id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}

resource "aws_vpc_security_group_ingress_rule" "task" {
  for_each                     = local.load_balancers
  security_group_id            = aws_security_group.task.id
  description                  = "From the load balancer"
  referenced_security_group_id = aws_security_group.load_balancer[each.key].id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}
